// SPDX-License-Identifier: Apache-2.0
#include "producer/daemon_log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include "libebpf/detail/escape.h"
#include "producer/log_file.h"

namespace ebpf {
namespace {

constexpr size_t kLineBytesMax = 1000;

// spdlog's own file sinks open by path and follow links; this one gets a descriptor.
class FdSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  FdSink(UniqueFd owned) : fd_(owned.get()), owned_(std::move(owned)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    base_sink<std::mutex>::formatter_->format(message, line);
    // A full disk must not stop the tracer; the log line is what gets lost.
    [[maybe_unused]] const ssize_t written = ::write(fd_, line.data(), line.size());
  }
  void flush_() override {}

 private:
  int fd_;
  UniqueFd owned_;
};

Result<std::shared_ptr<FdSink>> open_sink(const std::string& file) {
  if (file.empty()) return std::make_shared<FdSink>(STDERR_FILENO);
  auto fd = open_log_file(file);
  if (!fd) return fd.error();
  return std::make_shared<FdSink>(std::move(*fd));
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

Result<LogSink> open_daemon_log(const std::string& file, bool verbose) {
  auto sink = open_sink(file);
  if (!sink) return sink.error();
  auto logger = std::make_shared<spdlog::logger>("ebpf-producer", *sink);
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
  return LogSink([logger](LogLevel level, const std::string& message) {
    logger->log(level_of(level), "{}", one_line(message, kLineBytesMax));
  });
}

}  // namespace ebpf

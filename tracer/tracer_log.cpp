// SPDX-License-Identifier: Apache-2.0
#include "tracer/tracer_log.h"

#include <ctime>

#include "producer/log_file.h"

namespace ebpf {
namespace {

const char* name_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warning";
    case LogLevel::kError:
      break;
  }
  return "error";
}

std::string now_text() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
  char text[48];
  std::snprintf(text, sizeof text, "%s.%03ld", date, now.tv_nsec / 1000000);
  return text;
}

// A full disk or a closed pipe must not stop the tracer; the log line is what gets lost.
void put(int fd, const std::string& line) {
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
}

}  // namespace

Result<> TracerLog::open(const char* file, bool to_stdout) {
  UniqueFd fd;
  if (file != nullptr) {
    auto opened = open_log_file(file);
    if (!opened) return opened.error();
    fd = std::move(*opened);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  file_ = std::move(fd);
  to_stdout_ = to_stdout;
  open_ = true;
  return Unit{};
}

void TracerLog::write(LogLevel level, const std::string& message) {
  const std::string line = now_text() + " libebpf " + name_of(level) + ": " + message + "\n";
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!open_) return put(STDERR_FILENO, line);
  if (file_) put(file_.get(), line);
  if (to_stdout_) put(STDOUT_FILENO, line);
}

LogSink TracerLog::sink() {
  return [this](LogLevel level, const std::string& message) {
    if (level != LogLevel::kDebug) write(level, message);
  };
}

}  // namespace ebpf

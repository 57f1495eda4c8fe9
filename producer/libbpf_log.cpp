// SPDX-License-Identifier: Apache-2.0
#include "producer/libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <vector>

namespace ebpf {
namespace {

constexpr size_t kLinesKept = 12;

std::mutex holder_mutex;    // held by the LibbpfLog that exists
std::mutex listener_mutex;  // guards the two below: libbpf may print from any thread
const LogSink* listener = nullptr;
std::vector<std::string> warnings;

std::string format(const char* text, va_list args) {
  va_list again;
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, text, again);
  va_end(again);
  if (length <= 0) return {};
  std::string out(static_cast<size_t>(length) + 1, '\0');
  std::vsnprintf(out.data(), out.size(), text, args);
  out.pop_back();
  return out;
}

int print(enum libbpf_print_level level, const char* text, va_list args) {
  const std::string all = format(text, args);
  const std::lock_guard<std::mutex> lock(listener_mutex);
  if (!listener) return 0;
  for (size_t at = 0; at < all.size();) {
    size_t end = all.find('\n', at);
    if (end == std::string::npos) end = all.size();
    const std::string line = all.substr(at, end - at);
    at = end + 1;
    if (line.empty()) continue;
    if (*listener) (*listener)(LogLevel::kDebug, line);
    if (level != LIBBPF_WARN) continue;
    warnings.push_back(line);
    if (warnings.size() > kLinesKept) warnings.erase(warnings.begin());
  }
  return 0;
}

}  // namespace

Error libbpf_error(const std::string& what, int code) {
  char text[128] = "";
  libbpf_strerror(code, text, sizeof text);
  return {code < __LIBBPF_ERRNO__START ? code : EINVAL, what + ": " + text};
}

LibbpfLog::LibbpfLog(const LogSink& sink) : one_at_a_time_(holder_mutex) {
  const std::lock_guard<std::mutex> lock(listener_mutex);
  listener = &sink;
  warnings.clear();
  libbpf_set_print(print);
}

LibbpfLog::~LibbpfLog() {
  const std::lock_guard<std::mutex> lock(listener_mutex);
  listener = nullptr;
}

std::string LibbpfLog::last_words() const {
  const std::lock_guard<std::mutex> lock(listener_mutex);
  std::string all;
  for (const std::string& line : warnings) {
    if (!all.empty()) all += " | ";
    all += line;
  }
  return all;
}

void LibbpfLog::clear() {
  const std::lock_guard<std::mutex> lock(listener_mutex);
  warnings.clear();
}

}  // namespace ebpf

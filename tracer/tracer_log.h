// SPDX-License-Identifier: Apache-2.0
// The log of a program that uses the original API: a file, standard output, both or none.
#pragma once

#include <mutex>
#include <string>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/log.h"

namespace ebpf {

// Any thread may write. Before open(), and after one that failed, lines go to stderr.
class TracerLog {
 public:
  // `file` may be null: none.
  Result<> open(const char* file, bool to_stdout);

  void write(LogLevel level, const std::string& message);
  void error(const std::string& message) { write(LogLevel::kError, message); }
  void info(const std::string& message) { write(LogLevel::kInfo, message); }

  // For the producer inside. Its debug lines are left out.
  LogSink sink();

 private:
  std::mutex mutex_;
  bool open_ = false;
  bool to_stdout_ = false;
  UniqueFd file_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// Writes the records that go into the ring to a file, too (format: libebpf/trace_file.h).
// Runs on the drain thread; what the disk cannot take is counted, never waited for twice:
// after the first failed write recording ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "libebpf/trace_file.h"
#include "producer/log.h"

namespace ebpf {

class TraceRecorder {
 public:
  // Creates or truncates a regular file, mode 0600; never follows a symbolic link.
  static Result<std::unique_ptr<TraceRecorder>> create(const std::string& path, uint32_t cap_bytes,
                                                       LogSink log);
  ~TraceRecorder();  // writes what is buffered

  void add(const ebpf_record& record);
  void add_gap(uint32_t cause, uint64_t count, uint64_t timestamp_us);
  void flush();

  uint64_t records() const { return records_.load(std::memory_order_relaxed); }
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }
  bool failed() const { return !fd_; }

 private:
  TraceRecorder(std::string path, UniqueFd fd, LogSink log);
  void add_frame(const void* body, uint32_t body_bytes);

  std::string path_;
  UniqueFd fd_;
  LogSink log_;
  std::vector<uint8_t> buffer_;
  uint64_t buffered_records_ = 0;
  uint64_t written_bytes_ = 0;  // whole frames only
  std::atomic<uint64_t> records_{0};
  std::atomic<uint64_t> lost_{0};  // records that are not in the file
};

}  // namespace ebpf

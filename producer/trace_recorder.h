// SPDX-License-Identifier: Apache-2.0
// Writes records to a file (format: libebpf/trace_file.h). The producer does so on its drain
// thread, ebpfctl as a consumer. What the disk cannot take is counted, never waited for twice:
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
  enum class Existing { kTruncate, kRefuse };
  // Creates a regular file, mode 0600; never follows a symbolic link. One that exists already
  // is truncated, or refused (EEXIST).
  static Result<std::unique_ptr<TraceRecorder>> create(const std::string& path, uint32_t cap_bytes,
                                                       LogSink log,
                                                       Existing existing = Existing::kTruncate);
  ~TraceRecorder();  // writes what is buffered; without finish(), the file is one that was cut

  void add(const ebpf_record& record);
  void add_gap(const ebpf_gap& gap);
  void add_gap(uint32_t cause, uint64_t count, uint64_t timestamp_us);
  void flush();
  // Writes the mark that the file is whole. Nothing can be added after it. False: the disk
  // did not take all of it.
  bool finish();

  uint64_t records() const { return records_.load(std::memory_order_relaxed); }
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }
  uint64_t gaps() const { return gaps_; }
  uint64_t bytes() const { return written_bytes_ + buffer_.size(); }
  bool failed() const { return failed_; }

 private:
  TraceRecorder(std::string path, UniqueFd fd, LogSink log);
  void put_frame(const void* body, uint32_t body_bytes);
  void take_over(size_t bytes);
  void end_recording(const Error& error, size_t written);

  std::string path_;
  UniqueFd fd_;
  LogSink log_;
  std::vector<uint8_t> buffer_;
  uint64_t buffered_records_ = 0;
  uint64_t written_bytes_ = 0;  // whole frames only
  uint64_t gaps_ = 0;
  bool failed_ = false;
  std::atomic<uint64_t> records_{0};
  std::atomic<uint64_t> lost_{0};  // records that are not in the file
};

}  // namespace ebpf

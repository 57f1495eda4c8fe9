// SPDX-License-Identifier: Apache-2.0
// Reads a recorded trace (format: libebpf/trace_file.h) and gives its records to the
// publisher, in file order, with their original distances in time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/trace_file.h"

namespace ebpf {

class TracePlayer {
 public:
  // Checks the header; the error says what is wrong with the file.
  static Result<std::unique_ptr<TracePlayer>> open(const std::string& path);

  enum class Step { kRecord, kGap, kEnd, kCut };
  // The next whole frame: record() or gap() are valid until the next call. kEnd: no more.
  // kCut: the rest of the file is not a valid frame; nothing after it is read.
  Step next();

  const ebpf_record& record() const { return *reinterpret_cast<const ebpf_record*>(body_.data()); }
  const ebpf_gap& gap() const { return *reinterpret_cast<const ebpf_gap*>(body_.data()); }
  // Payload bytes follow the record.
  const uint8_t* payload() const { return reinterpret_cast<const uint8_t*>(&record() + 1); }
  uint64_t timestamp_us() const;
  uint32_t cap_bytes() const { return header_.cap_bytes; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  explicit TracePlayer(std::unique_ptr<std::FILE, Close> file);
  Result<> read_header(const std::string& path);
  bool body_is_valid(uint32_t bytes) const;

  std::unique_ptr<std::FILE, Close> file_;
  trace_file_header header_{};
  std::vector<uint64_t> body_;  // aligned as the record wants it
  Step step_ = Step::kEnd;
};

}  // namespace ebpf

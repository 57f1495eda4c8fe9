// SPDX-License-Identifier: Apache-2.0
// Takes a recorded trace apart (format: libebpf/trace_file.h). A pure function over bytes, which
// may be anybody's: no file, no clock, nothing read beyond what was given.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/trace_file.h"

namespace ebpf {

class TraceFrames {
 public:
  // `bytes` is the beginning of the file; the header is its first sizeof(trace_file_header).
  // `name` stands in the error, which says what is wrong.
  static Result<TraceFrames> open(std::span<const uint8_t> bytes, const std::string& name);

  enum class Step {
    kRecord,  // record() and payload()
    kGap,     // gap()
    kEnd,     // the file is whole, nothing more comes
    kCut,     // the file is cut off or damaged here, nothing after this is believed
    kMore     // give this again, with more bytes behind it
  };
  // The next frame stands at the beginning of `bytes`; `last`: no byte comes behind them.
  // *used tells how many bytes the frame took. What it is lives until the next call.
  Step next(std::span<const uint8_t> bytes, bool last, size_t* used);

  const ebpf_record& record() const { return *reinterpret_cast<const ebpf_record*>(body_.data()); }
  const ebpf_gap& gap() const { return *reinterpret_cast<const ebpf_gap*>(body_.data()); }
  const uint8_t* payload() const { return reinterpret_cast<const uint8_t*>(&record() + 1); }
  const trace_file_header& header() const { return header_; }

  // Frames are no longer than this.
  static constexpr size_t kFrameBytesMax =
      sizeof(trace_file_frame) + sizeof(ebpf_record) + EBPF_CAP_BYTES_MAX + EBPF_RECORD_ALIGN;

 private:
  TraceFrames() : body_(kFrameBytesMax / sizeof(uint64_t) + 1) {}
  Step classify(uint32_t bytes);
  bool record_is_valid(uint32_t bytes) const;
  bool gap_is_valid(uint32_t bytes) const;
  bool end_is_valid(uint32_t bytes) const;

  trace_file_header header_{};
  std::vector<uint64_t> body_;  // a copy: aligned as the record wants it
  uint64_t records_ = 0;
  uint64_t gaps_ = 0;
  bool ended_ = false;
};

// CRC-32 as the file has it.
uint32_t trace_crc(const void* bytes, size_t count);

}  // namespace ebpf

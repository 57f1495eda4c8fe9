// SPDX-License-Identifier: Apache-2.0
// Which bytes of one direction of a TCP connection were seen already, by sequence number.
#pragma once

#include <cstdint>
#include <vector>

namespace ebpf::ctl {

struct SeqRange {
  uint64_t begin;  // sequence numbers without wrap-around: the low 32 bits are those of TCP
  uint64_t end;
};

class SeqRanges {
 public:
  // The range that starts at the 32-bit number next to what was seen last.
  SeqRange place(uint32_t seq, uint64_t bytes) const;

  // The parts of `range` that were not seen before.
  std::vector<SeqRange> missing(SeqRange range) const;
  void add(SeqRange range);

  bool empty() const { return seen_.empty(); }
  uint32_t next() const { return static_cast<uint32_t>(top_); }

 private:
  std::vector<SeqRange> seen_;  // sorted, apart from each other
  uint64_t top_ = 0;
};

}  // namespace ebpf::ctl

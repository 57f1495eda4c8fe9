// SPDX-License-Identifier: Apache-2.0
// The records that every transport carries, and the check that each reader makes of each of
// them in place: the same bytes and the same work for all.
//
// The producer's side copies from a set of records that were filled beforehand, as the
// drain copies from perf buffers. Every cache line of a record holds a word that follows
// from the record's number, so a reader that looks at one word per line sees a torn, stale
// or foreign record, and has touched all of it.
#pragma once

#include <cstdint>
#include <vector>

#include "board.h"
#include "clock.h"
#include "libebpf/ring_layout.h"

namespace ebpf::bench {

constexpr uint32_t kHeadBytes = sizeof(ebpf_record);
constexpr uint32_t kLine = EBPF_CACHE_LINE;

inline uint64_t tag_of(uint32_t slot) { return (slot + 1) * 0x9E3779B97F4A7C15ull; }

// How many different records there are: a prime, so that no number of laps of a ring brings
// the same record to the same place; about as many bytes as a perf buffer has.
uint32_t slot_count(uint32_t record_bytes);

class Source {
 public:
  explicit Source(uint32_t record_bytes);

  uint32_t record_bytes() const { return record_bytes_; }
  uint32_t payload_bytes() const { return record_bytes_ - kHeadBytes; }
  // The one that next() will give.
  ebpf_record* peek() { return reinterpret_cast<ebpf_record*>(bytes_ + size_t{slot_} * stride_); }
  ebpf_record* next() {
    ebpf_record* record = peek();
    if (++slot_ == slots_) slot_ = 0;
    return record;
  }

 private:
  void fill(uint32_t slot);

  uint32_t record_bytes_;
  uint32_t stride_;
  uint32_t slots_;
  uint32_t slot_ = 0;
  std::vector<uint64_t> memory_;
  uint8_t* bytes_;
};

class Checker {
 public:
  Checker(uint32_t record_bytes, Board& board, Seat& seat, bool with_latency);

  void record(const ebpf_record& record) {
    const uint64_t differs = difference(record);
    if (record.seq != next_seq_ || differs != 0) complain(record, differs);
    ++seat_.delivered;
    ++next_seq_;
    if (++slot_ == slots_) slot_ = 0;
    if (with_latency_) take_sample(record.data.timestamp);
    if (next_seq_ % 64 == 0) tell_position();
  }
  void gap(uint64_t count) {
    seat_.lost += count;
    next_seq_ += count;
    slot_ = static_cast<uint32_t>(next_seq_ % slots_);
  }
  void tell_position() { seat_.position.store(next_seq_, std::memory_order_release); }
  uint64_t next_seq() const { return next_seq_; }
  uint32_t record_bytes() const { return record_bytes_; }
  Board& board() { return board_; }

 private:
  // 0 if the record is the expected one; looks at least at one word in each 64 bytes.
  uint64_t difference(const ebpf_record& record) const {
    const uint64_t tag = tag_of(slot_);
    const auto* words = reinterpret_cast<const uint64_t*>(&record + 1);
    uint64_t differs = (record.data.process_id ^ static_cast<uint32_t>(tag)) |
                       (record.data.socket_id ^ tag) | (record.data.cap_len ^ payload_bytes_);
    const uint32_t count = payload_bytes_ / sizeof(uint64_t);
    for (uint32_t i = 0; i < count; i += kLine / sizeof(uint64_t)) differs |= words[i] ^ (tag + i);
    return differs | (words[count - 1] ^ (tag + count - 1));
  }
  void complain(const ebpf_record& record, uint64_t differs);
  void take_sample(uint64_t sent_ns);

  uint32_t record_bytes_;
  uint32_t payload_bytes_;
  uint32_t slots_;
  uint32_t slot_ = 0;
  uint64_t next_seq_ = 0;
  bool with_latency_;
  Board& board_;
  Seat& seat_;
};

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// What EBPF_MSG_RING tells: how full and how fast the ring is, and where each consumer stands.
// Control thread; takes nothing from the drain thread but what it publishes anyway.
#pragma once

#include <cstdint>
#include <vector>

#include "libebpf/control.h"
#include "producer/consumer_slots.h"
#include "producer/ring_writer.h"

namespace ebpf {

// How many records had been published when: answers "since when is this record there?" and
// "how fast is it just now?". Samples are dense for the last minute, and sparser the older they
// are, so that a bounded number reaches back as far as need be.
class PublishHistory {
 public:
  explicit PublishHistory(uint32_t lane_count) : lane_count_(lane_count) {}

  // `records` by lane, since the start. Samples closer than kSampleUs are left out.
  void add(uint64_t now_us, const uint64_t* records, uint64_t bytes);
  // For how long the record of this number (from 0) has been published; 0: it is not yet.
  uint64_t age_us(uint32_t lane, uint64_t record, uint64_t now_us) const;

  struct Rate {
    uint64_t records_per_s = 0;
    uint64_t bytes_per_s = 0;
  };
  Rate rate() const;  // over the last second, or what there is of it

  static constexpr uint64_t kSampleUs = 50'000;
  static constexpr size_t kSamplesMax = 2048;

 private:
  struct Sample {
    uint64_t at_us;
    uint64_t bytes;
    uint64_t sum;  // of the records
  };
  void thin_out();
  uint64_t records(size_t sample, uint32_t lane) const {
    return records_[sample * lane_count_ + lane];
  }

  uint32_t lane_count_;
  std::vector<Sample> samples_;    // by age, the oldest first
  std::vector<uint64_t> records_;  // lane_count_ for each sample
};

class RingReport {
 public:
  // Both outlive the report.
  RingReport(ConsumerSlots& slots, const RingWriter& writer);

  void sample(uint64_t now_us);  // call several times a second
  // Everything but the header; the rows are those of consumers with a higher id than `after_id`.
  void fill(ebpf_msg_ring* ring, uint32_t after_id, uint64_t now_us) const;

 private:
  void fill_row(ebpf_consumer_row* row, const ConsumerInfo& info, uint64_t now_us) const;

  ConsumerSlots& slots_;
  const RingWriter& writer_;
  PublishHistory history_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The one way into the ring, for live events and for a replayed file alike: chooses the
// lane, reserves, lets the caller fill the record in place, publishes in bursts, counts.
// Drain thread only, but for the counters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "libebpf/control.h"
#include "producer/consumer_slots.h"
#include "producer/ring_writer.h"

namespace ebpf {

class TraceRecorder;

// So many records are published with one store (and wake their readers once).
constexpr uint32_t kBurstRecords = 16;

class Publisher {
 public:
  // `recorder` may be null. All outlive the publisher.
  Publisher(RingWriter& writer, ConsumerSlots& slots, TraceRecorder* recorder);

  // `fill(ebpf_record*)` writes data and payload of exactly `cap_len` bytes; false takes
  // the record back. Returns whether it was published (or will be by flush()).
  template <class Fill>
  bool add(uint64_t socket_id, uint32_t cap_len, Fill&& fill) {
    const uint32_t lane = ebpf_lane_of(socket_id, lane_count());
    ebpf_record* record = writer_.reserve(lane, cap_len);
    if (!record) return false;
    if (!fill(record)) {
      writer_.abandon(lane);
      return false;
    }
    writer_.commit(lane);
    finish(lane, *record, record->data.l7_protocal_hint);
    return true;
  }
  // The same for a record whose payload is in one piece; faster under load.
  bool add(const SK_BPF_DATA& data, const void* payload);

  void add_gap(uint32_t lane, uint32_t cause, uint64_t count, uint64_t timestamp_us);

  // Publishes what is open, and wakes sleepers if there is anything new. Returns whether a
  // wake-up is still pending: call again soon.
  bool flush(uint64_t now_us);

  uint32_t lane_count() const { return static_cast<uint32_t>(pending_.size()); }
  uint64_t bursts(uint32_t lane) const { return bursts_[lane].load(std::memory_order_relaxed); }
  uint64_t protocol(uint32_t index) const {
    return protocols_[index].load(std::memory_order_relaxed);
  }

 private:
  void finish(uint32_t lane, const ebpf_record& record, uint16_t l7_protocol);

  RingWriter& writer_;
  ConsumerSlots& slots_;
  TraceRecorder* recorder_;
  std::vector<uint32_t> pending_;  // committed, not yet published, by lane
  bool wake_due_ = false;          // something was added since the sleepers were last woken
  std::array<std::atomic<uint64_t>, EBPF_LANES_MAX> bursts_{};
  std::array<std::atomic<uint64_t>, EBPF_PROTOCOL_COUNT> protocols_{};
};

}  // namespace ebpf

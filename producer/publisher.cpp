// SPDX-License-Identifier: Apache-2.0
#include "producer/publisher.h"

#include "producer/trace_recorder.h"

namespace ebpf {
namespace {

// One writer: a plain add on a relaxed atomic, no locked instruction.
void count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

Publisher::Publisher(RingWriter& writer, ConsumerSlots& slots, TraceRecorder* recorder)
    : writer_(writer), slots_(slots), recorder_(recorder), pending_(writer.header().lane_count) {}

bool Publisher::add(const SK_BPF_DATA& data, const void* payload) {
  const uint32_t lane = ebpf_lane_of(data.socket_id, lane_count());
  const ebpf_record* record = writer_.append(lane, data, payload);
  if (!record) return false;
  finish(lane, *record, data.l7_protocal_hint);
  return true;
}

void Publisher::finish(uint32_t lane, const ebpf_record& record, uint16_t l7_protocol) {
  count(protocols_[ebpf_protocol_index(l7_protocol)]);
  wake_due_ = true;
  if (recorder_) recorder_->add(record);
  if (++pending_[lane] < kBurstRecords) return;
  writer_.publish(lane);
  pending_[lane] = 0;
  count(bursts_[lane]);
}

void Publisher::add_gap(uint32_t lane, uint32_t cause, uint64_t count, uint64_t timestamp_us) {
  writer_.append_gap(lane, cause, count, timestamp_us);
  wake_due_ = true;
  if (recorder_) recorder_->add_gap(cause, count, timestamp_us);
}

bool Publisher::flush(uint64_t now_us) {
  writer_.publish_all();
  for (uint32_t& pending : pending_) pending = 0;
  // Who fell asleep after the last publish has looked once more and seen everything.
  if (wake_due_) wake_due_ = slots_.wake_sleepers(now_us);
  return wake_due_;
}

}  // namespace ebpf

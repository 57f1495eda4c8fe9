// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include <algorithm>
#include <cinttypes>

namespace ebpf::bench {
namespace {

constexpr uint32_t kSourceBytes = 256 * 1024;
constexpr uint32_t kSlotsMin = 17;  // a prime, and more than a burst has

bool is_prime(uint32_t n) {
  for (uint32_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

uint32_t stride_of(uint32_t record_bytes) { return (record_bytes + kLine - 1) / kLine * kLine; }

}  // namespace

uint32_t slot_count(uint32_t record_bytes) {
  uint32_t slots = std::max(kSourceBytes / stride_of(record_bytes), kSlotsMin);
  while (!is_prime(slots)) --slots;
  return slots;
}

Source::Source(uint32_t record_bytes)
    : record_bytes_(record_bytes),
      stride_(stride_of(record_bytes)),
      slots_(slot_count(record_bytes)),
      memory_((size_t{slots_} * stride_ + kLine) / sizeof(uint64_t)) {
  const auto at = reinterpret_cast<uintptr_t>(memory_.data());
  bytes_ = reinterpret_cast<uint8_t*>((at + kLine - 1) / kLine * kLine);
  for (uint32_t slot = 0; slot < slots_; ++slot) fill(slot);
}

void Source::fill(uint32_t slot) {
  ebpf_record* record = next();
  const uint64_t tag = tag_of(slot);
  *record = ebpf_record{};
  record->length_bytes = record_bytes_;
  record->kind = EBPF_RECORD_DATA;
  record->data.process_id = static_cast<uint32_t>(tag);
  record->data.socket_id = tag;
  record->data.cap_len = payload_bytes();
  auto* words = reinterpret_cast<uint64_t*>(record + 1);
  for (uint32_t i = 0; i < payload_bytes() / sizeof(uint64_t); ++i) words[i] = tag + i;
}

Checker::Checker(uint32_t record_bytes, Board& board, Seat& seat, bool with_latency)
    : record_bytes_(record_bytes),
      payload_bytes_(record_bytes - kHeadBytes),
      slots_(slot_count(record_bytes)),
      with_latency_(with_latency),
      board_(board),
      seat_(seat) {}

void Checker::complain(const ebpf_record& record, uint64_t differs) {
  if (seat_.errors++ == 0) {
    std::snprintf(seat_.failure, sizeof seat_.failure,
                  "record %" PRIu64 " came where %" PRIu64 " was expected, its content is %s",
                  record.seq, next_seq_, differs == 0 ? "right" : "wrong");
  }
  next_seq_ = record.seq;
  slot_ = static_cast<uint32_t>(next_seq_ % slots_);
}

void Checker::take_sample(uint64_t sent_ns) {
  if (seat_.sample_count == kSamplesMax) return;
  const uint64_t took = now_ns() - sent_ns;
  seat_.samples_ns[seat_.sample_count++] =
      static_cast<uint32_t>(std::min<uint64_t>(took, UINT32_MAX));
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// Whether the bytes at a place in a segment can be a record. Knows the record's layout
// only; the place itself was checked by the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "libebpf/ring_layout.h"

namespace ebpf {

// `room_bytes` is what is committed from the record's start on; its length was read once
// and is the one that the caller goes on by.
inline bool valid_length(uint32_t length_bytes, uint32_t room_bytes) {
  return length_bytes >= EBPF_RECORD_HEAD_BYTES && length_bytes % EBPF_RECORD_ALIGN == 0 &&
         length_bytes <= room_bytes;
}

inline bool valid_data(const ebpf_record& record, uint32_t length_bytes, uint64_t expected_seq,
                       uint32_t cap_bytes) {
  if (length_bytes < sizeof(ebpf_record) || record.seq != expected_seq) return false;
  const uint32_t cap_len = record.data.cap_len;
  if (cap_len > cap_bytes || cap_len > length_bytes - sizeof(ebpf_record)) return false;
  // As a byte: a bool that is neither 0 nor 1 must not even be looked at.
  const auto* bytes = reinterpret_cast<const uint8_t*>(&record);
  return bytes[offsetof(ebpf_record, data) + offsetof(SK_BPF_DATA, need_reconfirm)] <= 1;
}

// The other causes are for a consumer to tell, not for a producer.
inline bool valid_gap(const ebpf_gap& gap, uint32_t length_bytes, uint64_t expected_seq) {
  return length_bytes >= sizeof(ebpf_gap) && gap.seq == expected_seq &&
         (gap.cause == EBPF_GAP_PERF_FULL || gap.cause == EBPF_GAP_NO_ROOM);
}

}  // namespace ebpf

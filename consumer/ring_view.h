// SPDX-License-Identifier: Apache-2.0
// The data memory of a ring, seen by a consumer: geometry that was checked once, and the
// addresses that follow from it. Owns nothing, and never writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "consumer/pin_protocol.h"
#include "libebpf/detail/result.h"
#include "libebpf/ring_layout.h"

namespace ebpf {

class RingView {
 public:
  RingView() = default;

  // Checks everything that later address arithmetic relies on, against the size that is
  // really mapped. EPROTO: another layout version; EBADMSG: cannot be a ring.
  static Result<RingView> create(const void* base, size_t mapped_bytes);

  uint64_t epoch() const { return epoch_; }
  uint32_t lane_count() const { return lane_count_; }
  uint32_t cap_bytes() const { return cap_bytes_; }
  uint32_t segment_bytes() const { return segment_bytes_; }  // room for records in a block
  LaneShape shape(uint32_t lane) const {
    return {lane, window_segments_, dir_entries_, block_count_};
  }

  // lane < lane_count(), index < block count: the caller has checked.
  const ebpf_lane_header* lane(uint32_t lane) const {
    return reinterpret_cast<const ebpf_lane_header*>(lanes_ + lane * lane_bytes_);
  }
  const uint32_t* dir(uint32_t lane_index) const {
    return reinterpret_cast<const uint32_t*>(lane(lane_index) + 1);
  }
  const ebpf_block_header* block(uint32_t index) const {
    return reinterpret_cast<const ebpf_block_header*>(blocks_ + uint64_t{index} * block_bytes_);
  }
  const uint8_t* records(uint32_t index) const {
    return reinterpret_cast<const uint8_t*>(block(index) + 1);
  }
  bool ended() const;  // load acquire: everything published before is visible after

 private:
  const ebpf_ring_header* header_ = nullptr;
  const uint8_t* lanes_ = nullptr;
  const uint8_t* blocks_ = nullptr;
  uint64_t epoch_ = 0;
  uint64_t lane_bytes_ = 0;
  uint32_t block_bytes_ = 0;
  uint32_t segment_bytes_ = 0;
  uint32_t lane_count_ = 0;
  uint32_t window_segments_ = 0;
  uint32_t dir_entries_ = 0;
  uint32_t block_count_ = 0;
  uint32_t cap_bytes_ = 0;
};

}  // namespace ebpf

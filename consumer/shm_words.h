// SPDX-License-Identifier: Apache-2.0
// The words of pin_protocol.h on shared memory.
#pragma once

#include "consumer/pin_protocol.h"
#include "consumer/ring_view.h"
#include "libebpf/shm_atomic.h"

namespace ebpf {

class ShmWord32 {
 public:
  explicit ShmWord32(uint32_t* word) : word_(word) {}
  void exchange_seq_cst(uint32_t value) const { shm_exchange_seq_cst_u32(word_, value); }
  void store_seq_cst(uint32_t value) const { shm_store_seq_cst_u32(word_, value); }
  void store_release(uint32_t value) const { shm_store_release_u32(word_, value); }
  void store_relaxed(uint32_t value) const { shm_store_relaxed_u32(word_, value); }
  uint32_t load_relaxed() const { return shm_load_relaxed_u32(word_); }

 private:
  uint32_t* word_;
};

class ShmConstWord32 {
 public:
  explicit ShmConstWord32(const uint32_t* word) : word_(word) {}
  uint32_t load_acquire() const { return shm_load_acquire_u32(word_); }

 private:
  const uint32_t* word_;
};

class ShmConstWord64 {
 public:
  explicit ShmConstWord64(const uint64_t* word) : word_(word) {}
  uint64_t load_relaxed() const { return shm_load_relaxed_u64(word_); }
  uint64_t load_acquire() const { return shm_load_acquire_u64(word_); }
  uint64_t load_seq_cst() const { return shm_load_seq_cst_u64(word_); }

 private:
  const uint64_t* word_;
};

// One lane of a ring, for the consumer that owns `page`.
class ShmLaneWords {
 public:
  ShmLaneWords(const RingView& view, uint32_t lane, ebpf_control_page* page)
      : view_(&view), lane_(lane), page_(page) {}

  ShmConstWord64 head() const { return ShmConstWord64(&view_->lane(lane_)->head); }
  ShmConstWord64 published_seq() const {
    return ShmConstWord64(&view_->lane(lane_)->published_seq);
  }
  ShmConstWord32 dir(uint32_t index) const { return ShmConstWord32(view_->dir(lane_) + index); }
  ShmConstWord64 generation(uint32_t block) const {
    return ShmConstWord64(&view_->block(block)->generation);
  }
  ShmConstWord64 first_seq(uint32_t block) const {
    return ShmConstWord64(&view_->block(block)->first_seq);
  }
  ShmConstWord64 committed(uint32_t block) const {
    return ShmConstWord64(&view_->block(block)->committed);
  }
  ShmWord32 pin() const { return ShmWord32(&page_->lanes[lane_].pin); }
  ebpf_control_lane* control() const { return &page_->lanes[lane_]; }

 private:
  const RingView* view_;
  uint32_t lane_;
  ebpf_control_page* page_;
};

}  // namespace ebpf

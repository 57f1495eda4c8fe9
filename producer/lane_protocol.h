// SPDX-License-Identifier: Apache-2.0
// The writer's half of the ring protocol, and nothing else: which block holds which
// segment, when a block may be used again, and in which order what becomes visible.
// docs/RING.md argues why it is safe.
//
// It is a template over the memory it writes to, so that the very same code runs on
// shared memory and under a model checker. `Memory` gives access to the shared words:
//
//   Memory::Atomics                  store_relaxed, store_release, store_seq_cst (word, value)
//   memory.generation(block)         the words of ring_layout.h, in a form that Atomics takes
//   memory.first_seq(block)
//   memory.committed(block)
//   memory.dir(lane, segment)
//   memory.head(lane)
//   memory.published_seq(lane)
//   memory.each_pin(visit)           visit(block index) for each pin, loaded seq_cst; the
//                                    index is a consumer's word and may be anything
//
// Must not include anything of the operating system.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "libebpf/ring_layout.h"

namespace ebpf {

// The blocks that hold no live segment: free ones, and parked ones, which a pin still
// named when they were retired. Known to the producer alone; allocates only here.
class BlockPool {
 public:
  explicit BlockPool(uint32_t block_count) : named_in_(block_count, 0) {
    free_.reserve(block_count);
    parked_.reserve(block_count);
    for (uint32_t block = block_count; block-- > 0;) free_.push_back(block);
  }

  void park(uint32_t block) { parked_.push_back(block); }

  // Frees every parked block that no pin names in the snapshot that each_pin takes.
  // Bounded by the number of pins plus the number of parked blocks.
  template <class Memory>
  void free_unpinned(Memory& memory) {
    ++scan_;
    memory.each_pin([this](uint32_t block) {
      if (block < named_in_.size()) named_in_[block] = scan_;
    });
    size_t kept = 0;
    for (const uint32_t block : parked_) {
      if (named_in_[block] == scan_) {
        parked_[kept++] = block;
      } else {
        free_.push_back(block);
      }
    }
    parked_.resize(kept);
  }

  // Last in, first out: while nobody pins, the reserve for parked blocks is never
  // touched, and costs address space only.
  uint32_t take() {
    assert(!free_.empty());  // the size of the pool says so
    const uint32_t block = free_.back();
    free_.pop_back();
    return block;
  }

  size_t free() const { return free_.size(); }
  size_t parked() const { return parked_.size(); }

 private:
  std::vector<uint32_t> free_;
  std::vector<uint32_t> parked_;
  std::vector<uint64_t> named_in_;  // by block: the last snapshot in which a pin named it
  uint64_t scan_ = 0;
};

template <class Memory>
class LaneProtocol {
  using Atomics = typename Memory::Atomics;

 public:
  // One lane as its writer knows it. `bytes` and `records` count what is committed in the
  // open segment, published or not.
  struct Lane {
    uint64_t head = 0;  // segments opened
    uint64_t next_seq = 0;
    uint32_t block = 0;  // holds the open segment
    uint32_t bytes = 0;
    uint32_t records = 0;
    uint32_t published_bytes = 0;
    std::vector<uint32_t> live;  // live[n % W] is the block of segment n
  };

  LaneProtocol(Memory memory, uint32_t lane_count, uint32_t window_segments, uint32_t block_count,
               uint64_t initial_seq)
      : memory_(memory), pool_(block_count), lanes_(lane_count), window_(window_segments) {
    for (Lane& lane : lanes_) {
      lane.next_seq = initial_seq;
      lane.live.assign(window_segments, 0);
    }
  }

  Lane& lane(uint32_t index) { return lanes_[index]; }
  const BlockPool& pool() const { return pool_; }

  // Makes everything committed on the lane visible, with one release store.
  void publish(uint32_t index) {
    Lane& lane = lanes_[index];
    if (lane.bytes == lane.published_bytes) return;
    store_committed(index, lane, 0);
  }

  // Opens the lane's next segment; closes the open one, and retires the oldest, where
  // there are such. Wait-free: no loop here depends on what a consumer does.
  void roll(uint32_t index) {
    Lane& lane = lanes_[index];
    if (lane.head > 0) store_committed(index, lane, EBPF_COMMITTED_SEALED);
    if (lane.head >= window_) retire(lane.live[lane.head % window_]);
    pool_.free_unpinned(memory_);
    open(index, lane, pool_.take());
  }

 private:
  void store_committed(uint32_t index, Lane& lane, uint64_t flag) {
    // Before the records that it counts, so that whoever sees them sees it too.
    Atomics::store_relaxed(memory_.published_seq(index), lane.next_seq);
    Atomics::store_release(memory_.committed(lane.block),
                           ebpf_committed(lane.bytes, lane.records) | flag);
    lane.published_bytes = lane.bytes;
  }

  // The store must come before the loads of the pins in the one order of all seq_cst
  // operations: then a reader whose pin we do not see is sure to see the retirement.
  void retire(uint32_t block) {
    Atomics::store_seq_cst(memory_.generation(block), 0);
    pool_.park(block);
  }

  void open(uint32_t index, Lane& lane, uint32_t block) {
    const uint64_t segment = lane.head;
    lane.live[segment % window_] = block;
    lane.block = block;
    lane.bytes = 0;
    lane.records = 0;
    lane.published_bytes = 0;
    Atomics::store_relaxed(memory_.first_seq(block), lane.next_seq);
    Atomics::store_relaxed(memory_.committed(block), 0);
    Atomics::store_release(memory_.generation(block), ebpf_generation(index, segment));
    Atomics::store_release(memory_.dir(index, segment), block);
    lane.head = segment + 1;
    Atomics::store_release(memory_.head(index), lane.head);
  }

  Memory memory_;
  BlockPool pool_;
  std::vector<Lane> lanes_;
  uint64_t window_;
};

}  // namespace ebpf

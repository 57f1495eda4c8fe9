// SPDX-License-Identifier: Apache-2.0
// The consumer's half of the pin protocol (ring_layout.h, docs/RING.md), free of memory,
// record formats and system calls, so that the same code runs on shared memory and under
// a model checker. It includes nothing but the layout.
//
// `Words` is how one consumer reaches the shared words of one lane. Each accessor returns
// a handle with the operations named here and nothing else:
//   head()             load_acquire, load_seq_cst
//   dir(index)         load_acquire
//   generation(block)  load_seq_cst
//   first_seq(block)   load_relaxed
//   committed(block)   load_acquire, load_seq_cst
//   pin()              exchange_seq_cst, store_release
#pragma once

#include <cstdint>

#include "libebpf/ring_layout.h"

namespace ebpf {

struct LaneShape {
  uint32_t lane = 0;
  uint32_t window_segments = 0;
  uint32_t dir_entries = 0;  // a power of two
  uint32_t block_count = 0;
};

// Where a consumer stands in a lane: `offset` bytes into `segment`. While `pinned`, its
// control page names `block`, and the block holds that segment.
struct LanePosition {
  uint64_t segment = 0;
  uint32_t offset = 0;
  uint32_t block = 0;
  bool pinned = false;
};

inline uint64_t oldest_segment(uint64_t head, uint32_t window_segments) {
  return head > window_segments ? head - window_segments : 0;
}

template <class Words>
void unpin(Words& words, LanePosition& at) {
  if (at.pinned) words.pin().store_release(0);
  at.pinned = false;
}

// Pins the segment if it is still there. The exchange also releases the pin before it.
// Store-then-load, as the producer's retire-then-scan: one of the two sees the other.
template <class Words>
bool pin_segment(Words& words, const LaneShape& shape, LanePosition& at) {
  at.pinned = false;
  const uint32_t block =
      words.dir(static_cast<uint32_t>(at.segment) & (shape.dir_entries - 1)).load_acquire();
  if (block >= shape.block_count) {
    words.pin().store_release(0);
    return false;
  }
  words.pin().exchange_seq_cst(block + 1);
  if (words.generation(block).load_seq_cst() != ebpf_generation(shape.lane, at.segment)) {
    words.pin().store_release(0);  // nothing in the block was touched
    return false;
  }
  at.block = block;
  at.pinned = true;
  return true;
}

// After a lap, the place to go on: the oldest live segment, and some further, so that the
// next roll does not overtake the consumer again at once.
inline uint64_t lapped_target(uint64_t head, uint32_t window_segments) {
  const uint64_t headroom = window_segments / 8 + 1;
  const uint64_t target = oldest_segment(head, window_segments) + headroom;
  return target < head ? target : head - 1;
}

// A first position: what the newest segment has not yet committed. False: retired just
// now, try again. `next_seq` is that of the data record that comes next.
template <class Words>
bool pin_tail(Words& words, const LaneShape& shape, LanePosition& at, uint64_t& next_seq) {
  const uint64_t head = words.head().load_acquire();
  if (head == 0) return false;
  at.segment = head - 1;
  if (!pin_segment(words, shape, at)) return false;
  const uint64_t committed = words.committed(at.block).load_acquire();
  at.offset = ebpf_committed_bytes(committed);
  next_seq = words.first_seq(at.block).load_relaxed() + ebpf_committed_records(committed);
  return true;
}

// A first position: the oldest segment but `skip`, as far as there are so many.
template <class Words>
bool pin_oldest(Words& words, const LaneShape& shape, LanePosition& at, uint64_t skip,
                uint64_t& next_seq) {
  const uint64_t head = words.head().load_acquire();
  if (head == 0) return false;
  const uint64_t wanted = oldest_segment(head, shape.window_segments) + skip;
  at.segment = wanted < head ? wanted : head - 1;
  at.offset = 0;
  if (!pin_segment(words, shape, at)) return false;
  next_seq = words.first_seq(at.block).load_relaxed();
  return true;
}

// At the end of what is committed: goes on to the next segment, if this one gets no more
// records and there is a next one. The pin stays where it is until the next is exchanged
// for it.
template <class Words>
bool leave_segment(Words& words, LanePosition& at, uint64_t committed) {
  if ((committed & EBPF_COMMITTED_SEALED) == 0) return false;
  if (words.head().load_acquire() <= at.segment + 1) return false;
  ++at.segment;
  at.offset = 0;
  at.pinned = false;
  return true;
}

enum class Seek { kPinned, kNothingYet, kTryAgain };

// Pins the segment at which `at` stands, or, when that one is gone, the one to go on with;
// `lapped` is then set, and the caller counts first_seq() minus what it had expected.
// `quiet`: nobody writes any more, so there is nothing to keep a distance from.
template <class Words>
Seek seek_segment(Words& words, const LaneShape& shape, LanePosition& at, bool quiet,
                  bool& lapped) {
  // A writer that rolls a whole window between two lines here is possible, but not often.
  for (int tries = 0; tries < 64 && !at.pinned; ++tries) {
    const uint64_t head = words.head().load_acquire();
    if (head <= at.segment) return Seek::kNothingYet;
    const uint64_t oldest = oldest_segment(head, shape.window_segments);
    if (at.segment < oldest) {
      at.segment = quiet ? oldest : lapped_target(head, shape.window_segments);
      at.offset = 0;
      lapped = true;
    }
    if (!pin_segment(words, shape, at)) {
      // Retired since, perhaps by a roll that has not yet moved the head.
      ++at.segment;
      at.offset = 0;
      lapped = true;
    }
  }
  return at.pinned ? Seek::kPinned : Seek::kTryAgain;
}

// Is there anything behind `at`? Part of going to sleep: seq_cst loads, after the seq_cst
// store that announced it, as the producer loads the announcement after it published.
template <class Words>
bool has_more(const Words& words, const LanePosition& at) {
  if (!at.pinned) return words.head().load_seq_cst() > at.segment;
  const uint64_t committed = words.committed(at.block).load_seq_cst();
  if (ebpf_committed_bytes(committed) > at.offset) return true;
  return (committed & EBPF_COMMITTED_SEALED) != 0 && words.head().load_seq_cst() > at.segment + 1;
}

// Announces sleep; false: there is something to read after all, and nobody need wake us.
// `sleeping` has store_seq_cst and store_relaxed.
template <class Word, class HasMore>
bool announce_sleep(Word sleeping, uint32_t kind, HasMore&& more) {
  sleeping.store_seq_cst(kind);
  if (!more()) return true;
  sleeping.store_relaxed(EBPF_AWAKE);
  return false;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The consumers that are attached: control page and socket of each. The control thread
// attaches and detaches; the drain thread looks at the pins and rings doorbells. Neither
// ever waits for the other: what a detached slot owned is freed only after the drain
// thread has passed a quiet point.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "libebpf/ring_layout.h"
#include "producer/shm_atomics.h"
#include "producer/slot_protocol.h"
#include "producer/wake_limits.h"

namespace ebpf {

// What a fresh control page has in join_seq and next_seq of every lane: the consumer does
// not read this lane, or does not yet.
constexpr uint64_t kNotJoined = UINT64_MAX;

// What the producer knows of one consumer.
struct ConsumerInfo {
  uint32_t id = 0;
  int32_t pid = 0;
  uint32_t uid = 0;
  char name[EBPF_COMM_BYTES] = {};
  uint64_t wakeups = 0;
  uint64_t attached_us = 0;  // monotonic
};

class ConsumerSlots {
 public:
  // epoch 0: from the clock.
  ConsumerSlots(uint32_t max_consumers, uint32_t lane_count, uint64_t epoch,
                const WakeLimits& limits = {});
  // Wakes who still sleeps. The drain thread is gone by now.
  ~ConsumerSlots();

  // Constant.
  uint32_t max_consumers() const { return max_consumers_; }
  uint32_t lane_count() const { return lane_count_; }
  uint64_t epoch() const { return epoch_; }

  // ---- control thread ----
  struct Attached {
    uint32_t id;
    UniqueFd control_fd;  // to send to the consumer
  };
  // Takes a slot with a fresh control page. EUSERS when there is none. `socket` is the
  // consumer's connection; the slots keep a duplicate for doorbells.
  Result<Attached> attach(int socket, const ConsumerInfo& info);
  // Gives the slot up; it can be taken again at once. Returns the number of records that
  // the consumer had not read, by its own word, bounded by what was published
  // (published_seq by lane, all numbered from initial_seq).
  uint64_t detach(uint32_t id, const uint64_t* published_seq, uint64_t initial_seq = 0);
  // Frees what detached slots owned, once the drain thread has passed. Call now and then.
  void collect();
  std::vector<ConsumerInfo> list() const;
  // The producer's own mapping of an attached consumer's page, nullptr if there is none.
  // What it holds is the consumer's word. (Tests under ThreadSanitizer use it, too: that cannot
  // follow a word through two mappings.)
  ebpf_control_page* mapped_page(uint32_t id);
  // By lane: the furthest position of any consumer so far, as a count of records from
  // initial_seq, bounded by published.
  uint64_t furthest(uint32_t lane, uint64_t initial_seq, uint64_t published);

  // ---- drain thread ----
  // Calls visit(block index) for each block that some pin names: at most max_consumers *
  // lane_count times, with any value at all. Loads are seq_cst, see docs/RING.md.
  template <class Visit>
  void each_pin(Visit&& visit) const;
  // Call after a publish. Wakes every consumer that says it sleeps. One that was woken just
  // now is not even looked at before its time, and counts as pending for the next call.
  // Never blocks. Returns whether any is pending.
  bool wake_sleepers(uint64_t now_us);
  void quiet_point();  // holds no page or socket of a slot now

  // ---- any thread ----
  uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  uint64_t wakeups() const { return wakeups_.load(std::memory_order_relaxed); }

 private:
  struct Attachment;
  struct Slot {
    std::atomic<Attachment*> current{nullptr};
    std::unique_ptr<Attachment> owned;  // control thread
  };
  struct Detached {
    std::unique_ptr<Attachment> attachment;
    uint64_t quiet_points;  // passed when it was detached
  };

  // The slots as slot_protocol.h reaches them.
  class Words {
   public:
    using Page = Attachment*;
    explicit Words(const ConsumerSlots& slots) : slots_(&slots) {}
    uint32_t slot_count() const { return slots_->max_consumers_; }
    uint32_t lane_count() const { return slots_->lane_count_; }
    ThreadWord<Page> current(uint32_t slot) const {
      return ThreadWord<Page>(slots_->slots_[slot].current);
    }
    ThreadWord<uint64_t> quiet_points() const {
      return ThreadWord<uint64_t>(slots_->quiet_points_);
    }
    static ControlWord pin(Page page, uint32_t lane);
    static ControlWord sleeping(Page page);
    static void full_barrier() { ShmAtomics::full_barrier(); }

   private:
    const ConsumerSlots* slots_;
  };

  bool wake(Attachment& attachment, uint64_t now_us);
  Slot* find_free();
  uint64_t unread(const Attachment& attachment, const uint64_t* published_seq,
                  uint64_t initial_seq) const;
  void note_position(const Attachment& attachment, uint32_t lane, uint64_t initial_seq,
                     uint64_t published);

  const WakeLimits limits_;
  uint32_t pending_ = 1;  // drain thread: how many the last call left pending, and one
  uint32_t max_consumers_;
  uint32_t lane_count_;
  uint64_t epoch_;
  std::unique_ptr<Slot[]> slots_;
  std::vector<Detached> detached_;                             // control thread
  std::array<uint64_t, EBPF_LANES_MAX> furthest_{};            // control thread
  uint32_t last_id_ = 0;                                       // control thread
  alignas(64) mutable std::atomic<uint64_t> quiet_points_{0};  // written by the drain thread
  std::atomic<uint64_t> wakeups_{0};                           // written by the drain thread
  alignas(64) std::atomic<uint32_t> count_{0};                 // written by the control thread
};

template <class Visit>
void ConsumerSlots::each_pin(Visit&& visit) const {
  Words words(*this);
  scan_pins(words, visit);
}

}  // namespace ebpf

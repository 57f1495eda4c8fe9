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

namespace ebpf {

// What the producer knows of one consumer. `page` fields are the consumer's word.
struct ConsumerInfo {
  uint32_t id = 0;
  int32_t pid = 0;
  uint32_t uid = 0;
  char name[EBPF_COMM_BYTES] = {};
  uint64_t wakeups = 0;
};

class ConsumerSlots {
 public:
  ConsumerSlots(uint32_t max_consumers, uint32_t lane_count, uint64_t epoch);
  ~ConsumerSlots();

  // ---- control thread ----
  struct Attached {
    uint32_t id;
    UniqueFd control_fd;  // to send to the consumer
  };
  // Takes a slot with a fresh control page. EUSERS when there is none. `socket` is the
  // consumer's connection; the slots keep a duplicate for doorbells.
  Result<Attached> attach(int socket, const ConsumerInfo& info);
  // Gives the slot up. Returns the number of records that the consumer had not read,
  // by its own word, bounded by what was published (published_seq by lane).
  uint64_t detach(uint32_t id, const uint64_t* published_seq);
  // Frees what detached slots owned, once the drain thread has passed. Call now and then.
  void collect();
  std::vector<ConsumerInfo> list() const;
  // By lane: the furthest position of any consumer so far, as a count of records from
  // initial_seq, bounded by published.
  uint64_t furthest(uint32_t lane, uint64_t initial_seq, uint64_t published);

  // ---- drain thread ----
  // Calls visit(block index) for each block that some pin names (validated against
  // block_count by the caller).
  template <class Visit>
  void each_pin(uint32_t lane_count, Visit&& visit) const;
  // Wakes every consumer that says it sleeps; at most one wake-up per consumer and
  // min_interval_us, the rest stay pending for the next call. Never blocks. Returns
  // whether any is pending.
  bool wake_sleepers(uint64_t now_us);
  void quiet_point();  // holds no page or socket of a slot now

  uint64_t wakeups() const;

 private:
  struct Slot;
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace ebpf

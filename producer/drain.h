// SPDX-License-Identifier: Apache-2.0
// The drain: takes events out of every CPU's perf buffer in time order and copies each
// once, into the ring. One thread; nothing here waits for a consumer.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "libebpf/detail/unique_fd.h"
#include "producer/drain_pace.h"
#include "producer/kernel_tracer.h"
#include "producer/publisher.h"
#include "producer/wall_clock.h"

namespace ebpf {

class Drain {
 public:
  // All outlive the drain.
  Drain(KernelTracer& tracer, Publisher& publisher, ConsumerSlots& slots,
        const DrainTiming& timing = kDefaultTiming);

  // Until `stop` is set; then it takes what is left in the buffers once more.
  void run(const std::atomic<bool>& stop);
  // Any thread: run() looks at `stop` now, not when it wakes up anyway.
  void interrupt();

  // Any thread.
  uint64_t bad_events() const { return bad_events_.load(std::memory_order_relaxed); }
  uint64_t late_events() const { return late_events_.load(std::memory_order_relaxed); }

 private:
  // One CPU whose next event is known.
  struct Head {
    uint64_t timestamp_ns;
    uint32_t cpu;
    EventView event;
    bool operator>(const Head& other) const { return timestamp_ns > other.timestamp_ns; }
  };

  void wait(uint64_t wait_ns);
  uint64_t plan(const PassResult& found, uint64_t now_ns);
  bool anything_left(bool* crowded) const;
  uint32_t pass(uint64_t horizon_ns);
  bool look(uint32_t cpu, uint64_t horizon_ns, Head* head);
  bool take_run(Head* head, uint64_t horizon_ns, uint32_t* taken);
  void take(const Head& head);
  void note_loss(uint32_t cpu, const EventView& event);
  void report_kernel_losses();

  KernelTracer& tracer_;
  Publisher& publisher_;
  ConsumerSlots& slots_;
  const DrainTiming timing_;
  DrainPace pace_;
  UniqueFd interrupt_;
  bool asleep_ = false;  // the programs were told so
  WallClock clock_;
  std::vector<Head> heads_;          // heap, oldest first
  std::vector<uint32_t> cpu_lost_;   // kernel_event.lost last seen, by CPU
  std::vector<uint64_t> lane_lost_;  // losses told so far, by lane
  uint64_t last_event_ns_ = 0;
  uint64_t losses_checked_ns_ = 0;
  std::atomic<uint64_t> bad_events_{0};
  std::atomic<uint64_t> late_events_{0};
};

}  // namespace ebpf

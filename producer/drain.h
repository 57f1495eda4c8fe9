// SPDX-License-Identifier: Apache-2.0
// The drain: takes events out of every CPU's perf buffer in time order and copies each
// once, into the ring. One thread; nothing here waits for a consumer.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "producer/kernel_tracer.h"
#include "producer/publisher.h"
#include "producer/wall_clock.h"

namespace ebpf {

class Drain {
 public:
  // All outlive the drain.
  Drain(KernelTracer& tracer, Publisher& publisher, ConsumerSlots& slots);

  // Until `stop` is set; then it takes what is left in the buffers once more.
  void run(const std::atomic<bool>& stop);

  // Any thread.
  uint64_t bad_events() const { return bad_events_.load(std::memory_order_relaxed); }
  uint64_t late_events() const { return late_events_.load(std::memory_order_relaxed); }

 private:
  // One CPU whose next event is known.
  struct Head {
    uint64_t timestamp_ns;
    uint32_t cpu;
    bool operator>(const Head& other) const { return timestamp_ns > other.timestamp_ns; }
  };

  uint32_t pass(uint64_t horizon_ns);
  bool look(uint32_t cpu, uint64_t horizon_ns, Head* head);
  void take(uint32_t cpu, const EventView& event);
  void note_loss(uint32_t cpu, const EventView& event);
  void report_kernel_losses();

  KernelTracer& tracer_;
  Publisher& publisher_;
  ConsumerSlots& slots_;
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

// SPDX-License-Identifier: Apache-2.0
// How long the drain waits between two looks at the buffers. No system calls.
#pragma once

#include <algorithm>
#include <cstdint>

#include "producer/wake_limits.h"

namespace ebpf {

struct DrainTiming {
  // Events younger than this stay for the next pass: another CPU may still be writing an older
  // one. A program runs for a few microseconds between its clock and its output.
  uint64_t settle_ns;
  // From one look to the next while events flow.
  uint64_t tick_ns;
  // Without events for so long, the drain goes to sleep.
  uint64_t linger_ns;
  // A consumer whose wake-up had to wait is looked after again.
  uint64_t wake_retry_ns;
  // The CPU's timers may be late by this much, to save wake-ups. 0: as is usual.
  uint64_t timer_slack_ns;
  WakeLimits wake;
};
constexpr DrainTiming kDefaultTiming = {100'000, 2'000'000, 2'000'000, 1'000'000, 0, {}};
constexpr DrainTiming kLowLatencyTiming = {15'000, 40'000, 200'000, 20'000, 1, {20, 3}};

// The longest sleep: bounds whatever nobody wakes us for.
constexpr uint64_t kSleepMaxNs = 250'000'000;
constexpr uint64_t kSleepGrowth = 8;

// What the last pass found.
struct PassResult {
  uint32_t taken = 0;
  bool left = false;     // too young, or still being written
  bool crowded = false;  // a quarter of a buffer or more of that
};

class DrainPace {
 public:
  explicit DrainPace(const DrainTiming& timing) : timing_(timing) {}

  // Whether to fall asleep before the next wait. Then look again at all buffers.
  bool wants_sleep(const PassResult& found, uint64_t now_ns) {
    if (found.taken > 0) last_taken_ns_ = now_ns;
    return found.taken == 0 && !found.left && now_ns - last_taken_ns_ >= timing_.linger_ns;
  }

  // While asleep. The first sleeps are short: an event that was being written when we fell
  // asleep wakes nobody.
  uint64_t sleep_ns() {
    sleep_ns_ = sleep_ns_ == 0 ? timing_.tick_ns : std::min(sleep_ns_ * kSleepGrowth, kSleepMaxNs);
    return sleep_ns_;
  }

  // While awake. A first event has only to settle, and so has what fills a buffer; while they
  // flow, they come with the tick.
  uint64_t wait_ns(const PassResult& found) {
    const bool is_first = found.taken == 0 && found.left && !settling_;
    settling_ = is_first;
    sleep_ns_ = 0;
    return is_first || found.crowded ? timing_.settle_ns : timing_.tick_ns;
  }

 private:
  const DrainTiming timing_;
  uint64_t last_taken_ns_ = 0;
  uint64_t sleep_ns_ = 0;
  bool settling_ = false;
};

}  // namespace ebpf

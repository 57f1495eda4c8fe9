// SPDX-License-Identifier: Apache-2.0
// What sleeping consumers may cost the drain thread, whatever they say about their sleep.
#pragma once

#include <cstdint>

namespace ebpf {

// A consumer is woken at most once in so many microseconds, and less often where waking takes
// long: all consumers together get a 1/kWakeShare of the drain thread's time.
constexpr uint64_t kWakeIntervalUs = 50;
constexpr uint64_t kWakeShare = 25;
// What a consumer left of its share in so many microseconds, it may use at once: one that is
// woken now and then need not wait.
constexpr uint64_t kWakeCreditUs = 5000;

struct WakeLimits {
  uint64_t interval_us = kWakeIntervalUs;
  uint64_t share = kWakeShare;
};

}  // namespace ebpf

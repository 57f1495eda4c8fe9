// SPDX-License-Identifier: Apache-2.0
#include "producer/wall_clock.h"

#include <ctime>

namespace ebpf {
namespace {

constexpr uint64_t kRefreshNs = 200'000'000;
// Below this, going backwards is slewing or measuring error; from it on, it is a step.
constexpr uint64_t kStepUs = 10'000;

uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
uint64_t wall_us() { return read_clock(CLOCK_REALTIME) / 1000; }

WallClock::WallClock() { measure(); }

void WallClock::measure() {
  // The pair with the shortest way around is the one that was least disturbed.
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = monotonic_ns();
    const uint64_t wall = read_clock(CLOCK_REALTIME);
    const uint64_t after = monotonic_ns();
    if (after - before >= best) continue;
    best = after - before;
    offset_ns_ = static_cast<int64_t>(wall - (before + best / 2));
    measured_ns_ = after;
  }
}

void WallClock::refresh(uint64_t now_ns) {
  if (now_ns - measured_ns_ >= kRefreshNs) measure();
}

uint64_t WallClock::to_wall_us(uint64_t mono_ns) {
  uint64_t us = (mono_ns + static_cast<uint64_t>(offset_ns_)) / 1000;
  if (mono_ns >= last_mono_ns_) {
    if (us < last_us_ && last_us_ - us < kStepUs) us = last_us_;
    last_mono_ns_ = mono_ns;
    last_us_ = us;
  }
  return us;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/wall_clock.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace {

TEST(WallClock, AgreesWithTheSystemClock) {
  ebpf::WallClock clock;
  const uint64_t before = ebpf::wall_us();
  const uint64_t now = clock.to_wall_us(ebpf::monotonic_ns());
  const uint64_t after = ebpf::wall_us();
  // A microsecond of rounding and the error of measuring the offset.
  EXPECT_GE(now + 200, before);
  EXPECT_LE(now, after + 200);
}

TEST(WallClock, NeverGoesBackwardsBetweenRefreshes) {
  ebpf::WallClock clock;
  uint64_t last = 0;
  uint64_t mono = ebpf::monotonic_ns();
  for (int i = 0; i < 2000; ++i, mono += 500) {
    // Far enough apart that each refresh measures again.
    clock.refresh(mono + static_cast<uint64_t>(i) * 300'000'000);
    const uint64_t us = clock.to_wall_us(mono);
    ASSERT_GE(us, last);
    last = us;
  }
}

TEST(WallClock, KeepsDistancesInTime) {
  ebpf::WallClock clock;
  const uint64_t mono = ebpf::monotonic_ns();
  const uint64_t first = clock.to_wall_us(mono);
  EXPECT_EQ(clock.to_wall_us(mono + 7'000'000) - first, 7000u);
}

}  // namespace

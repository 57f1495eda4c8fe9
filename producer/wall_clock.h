// SPDX-License-Identifier: Apache-2.0
// BPF has only the monotonic clock; records carry wall-clock time. One thread.
#pragma once

#include <cstdint>

namespace ebpf {

uint64_t monotonic_ns();
uint64_t wall_us();  // µs since 1970

class WallClock {
 public:
  WallClock();

  // Measures the offset again when the last time is older than 200 ms, so that a step of
  // the wall clock shows up within a second. `now_ns` is monotonic_ns().
  void refresh(uint64_t now_ns);

  // Wall-clock microseconds of a monotonic time. Small corrections of the clock (slewing,
  // the error of measuring it) never make the results go backwards; a real step may.
  uint64_t to_wall_us(uint64_t mono_ns);

 private:
  void measure();

  int64_t offset_ns_ = 0;  // wall - monotonic
  uint64_t measured_ns_ = 0;
  uint64_t last_mono_ns_ = 0;
  uint64_t last_us_ = 0;
};

}  // namespace ebpf

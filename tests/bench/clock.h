// SPDX-License-Identifier: Apache-2.0
// The clocks of the bench, and the small things that keep a measurement still.
#pragma once

#include <sched.h>

#include <cstdint>
#include <ctime>
#include <string>

namespace ebpf::bench {

inline uint64_t read_clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// One clock for all processes; a vDSO read, no system call.
inline uint64_t now_ns() { return read_clock_ns(CLOCK_MONOTONIC); }

// What this thread has cost: its time on a CPU, in user space and in the kernel.
inline uint64_t thread_cpu_ns() { return read_clock_ns(CLOCK_THREAD_CPUTIME_ID); }

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

inline void sleep_us(long us) {
  const timespec wait{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&wait, nullptr);
}

// The first or the last CPU that this process may use. With a single one they are the same,
// and the figures are what such a machine gives.
enum class Cpu { kAny, kFirst, kLast };

inline void pin_to(Cpu wanted) {
  cpu_set_t allowed;
  if (wanted == Cpu::kAny || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  int picked = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (picked < 0 || wanted == Cpu::kLast) picked = cpu;
  }
  if (picked < 0) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(picked, &one);
  sched_setaffinity(0, sizeof one, &one);
}

}  // namespace ebpf::bench

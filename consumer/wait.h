// SPDX-License-Identifier: Apache-2.0
// The clock and the waits of a consumer. Nothing here knows what is waited for.
#pragma once

#include <cstdint>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

uint64_t monotonic_us();
uint64_t monotonic_coarse_us();  // cheaper, a few milliseconds behind

// The end of a poll's patience.
class Deadline {
 public:
  explicit Deadline(int timeout_ms)  // below 0: never
      : forever_(timeout_ms < 0),
        at_us_(forever_ ? 0 : monotonic_us() + static_cast<uint64_t>(timeout_ms) * 1000) {}

  bool passed() const { return !forever_ && monotonic_us() >= at_us_; }
  // What is left, at most `slice_us`.
  uint64_t slice(uint64_t slice_us) const;

 private:
  bool forever_;
  uint64_t at_us_;
};

enum class Waited { kGoOn, kInterrupted };

// Sleeps while *word == value, at most timeout_us; *word may lie in shared memory.
Waited futex_wait(const uint32_t* word, uint32_t value, uint64_t timeout_us);

// One descriptor that is readable when the socket is, or when the timer ticks.
class Watch {
 public:
  static Result<Watch> create();

  int fd() const { return epoll_.get(); }
  Result<> add(int fd);                   // forgotten when it is closed
  void tick_every(uint64_t interval_us);  // 0: no more
  void nudge();                           // readable at once, until take_tick()
  void take_tick();
  Waited wait(uint64_t timeout_us) const;

 private:
  Watch(UniqueFd epoll, UniqueFd timer) : epoll_(std::move(epoll)), timer_(std::move(timer)) {}

  UniqueFd epoll_;
  UniqueFd timer_;
};

}  // namespace ebpf

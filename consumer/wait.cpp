// SPDX-License-Identifier: Apache-2.0
#include "consumer/wait.h"

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>

namespace ebpf {
namespace {

uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

timespec to_timespec(uint64_t us) {
  return {static_cast<time_t>(us / 1000000), static_cast<long>(us % 1000000 * 1000)};
}

}  // namespace

uint64_t monotonic_us() { return read_clock(CLOCK_MONOTONIC); }
uint64_t monotonic_coarse_us() { return read_clock(CLOCK_MONOTONIC_COARSE); }

uint64_t Deadline::slice(uint64_t slice_us) const {
  if (forever_) return slice_us;
  const uint64_t now = monotonic_us();
  return now >= at_us_ ? 0 : std::min(slice_us, at_us_ - now);
}

Waited futex_wait(const uint32_t* word, uint32_t value, uint64_t timeout_us) {
  const timespec timeout = to_timespec(timeout_us);
  // Without FUTEX_PRIVATE_FLAG: who wakes us is another process.
  const long result = syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, nullptr, 0);
  return result != 0 && errno == EINTR ? Waited::kInterrupted : Waited::kGoOn;
}

Result<Watch> Watch::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error("epoll_create1");
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return errno_error("timerfd_create");
  Watch watch(std::move(epoll), std::move(timer));
  if (auto added = watch.add(watch.timer_.get()); !added) return added.error();
  return watch;
}

Result<> Watch::add(int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return errno_error("epoll_ctl");
  return Unit{};
}

void Watch::tick_every(uint64_t interval_us) {
  itimerspec spec{};
  spec.it_interval = spec.it_value = to_timespec(interval_us);
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void Watch::nudge() {
  itimerspec spec{};
  timerfd_gettime(timer_.get(), &spec);  // ticks go on as before
  spec.it_value = {0, 1};
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void Watch::take_tick() {
  uint64_t ticks;
  // EAGAIN: it has not ticked. Nothing depends on how often it has.
  [[maybe_unused]] const ssize_t taken = read(timer_.get(), &ticks, sizeof ticks);
}

Waited Watch::wait(uint64_t timeout_us) const {
  epoll_event event;
  const int timeout_ms = static_cast<int>((timeout_us + 999) / 1000);
  const int count = epoll_wait(epoll_.get(), &event, 1, timeout_ms);
  return count < 0 && errno == EINTR ? Waited::kInterrupted : Waited::kGoOn;
}

}  // namespace ebpf

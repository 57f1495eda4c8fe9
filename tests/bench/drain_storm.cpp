// SPDX-License-Identifier: Apache-2.0
// The process that has events made for it.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <new>

#include "clock.h"
#include "drain_generator.h"
#include "drain_rig.h"

namespace ebpf::bench {
namespace {

constexpr uint64_t kSocketId = 7;
// While it paces itself, it sleeps at least so long: events come in small bursts, as they do
// from a server.
constexpr uint64_t kPauseNs = 50'000;

void demand(uint32_t count, uint32_t bytes, uint64_t first) {
  syscall(SYS_getppid, GENERATOR_MAGIC, count | uint64_t{bytes} << 32, kSocketId, first);
}

// Events that are due by now.
uint64_t due(const StormOrder& order, uint64_t elapsed_ns) {
  if (order.per_second == 0) return UINT64_MAX;
  return static_cast<uint64_t>(static_cast<double>(order.per_second) *
                               static_cast<double>(elapsed_ns) / 1e9);
}

void storm(const StormOrder& order, StormReport* report) {
  if (order.one_cpu) pin_to(Cpu::kFirst);
  prctl(PR_SET_TIMERSLACK, 1);
  const uint64_t begin = now_ns();
  const auto lasts_ns = static_cast<uint64_t>(order.seconds * 1e9);
  uint64_t sent = 0;
  uint64_t elapsed_ns = 0;
  while (elapsed_ns < lasts_ns) {
    const uint64_t wanted = due(order, elapsed_ns);
    if (wanted <= sent) {
      const double next_ns = static_cast<double>(sent + 1) / static_cast<double>(order.per_second);
      const auto pause_ns = static_cast<uint64_t>(next_ns * 1e9) - elapsed_ns;
      const uint64_t wait_ns = std::max(pause_ns, kPauseNs);
      const timespec wait{static_cast<time_t>(wait_ns / 1'000'000'000),
                          static_cast<long>(wait_ns % 1'000'000'000)};
      nanosleep(&wait, nullptr);
    } else {
      const auto count =
          static_cast<uint32_t>(std::min<uint64_t>(wanted - sent, GENERATOR_EVENTS_MAX));
      demand(count, order.bytes, sent);
      sent += count;
    }
    elapsed_ns = now_ns() - begin;
  }
  *report = {sent, static_cast<double>(elapsed_ns) / 1e9};
}

}  // namespace

Result<StormReport> run_storm(const StormOrder& order) {
  void* shared =
      mmap(nullptr, sizeof(StormReport), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return errno_error("cannot share memory");
  auto* report = new (shared) StormReport{};
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    storm(order, report);
    _exit(0);
  }
  if (child > 0) waitpid(child, nullptr, 0);
  const StormReport result = *report;
  munmap(shared, sizeof(StormReport));
  if (child < 0) return errno_error("cannot fork");
  if (result.events == 0) return Error{EIO, "the storm ended early"};
  return result;
}

}  // namespace ebpf::bench

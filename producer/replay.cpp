// SPDX-License-Identifier: Apache-2.0
#include "producer/replay.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "producer/wall_clock.h"

namespace ebpf {
namespace {

// Wake-ups and detached slots are looked after at least this often while it waits.
constexpr uint64_t kTickNs = 4'000'000;

}  // namespace

Replay::Replay(const ReplayOptions& options, std::unique_ptr<TracePlayer> player,
               Publisher& publisher, ConsumerSlots& slots, LogSink log)
    : options_(options),
      player_(std::move(player)),
      publisher_(publisher),
      slots_(slots),
      log_(std::move(log)) {}

void Replay::wait_until(uint64_t due_ns, const std::atomic<bool>& stop) {
  do {
    publisher_.flush(monotonic_ns() / 1000);
    slots_.quiet_point();
    const uint64_t now_ns = monotonic_ns();
    if (now_ns >= due_ns) return;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(due_ns - now_ns, kTickNs)));
  } while (!stop.load(std::memory_order_relaxed));
}

void Replay::give() {
  publisher_.add(player_->record().data, player_->payload());
  records_.fetch_add(1, std::memory_order_relaxed);
}

void Replay::run(const std::atomic<bool>& stop) {
  while (slots_.count() < options_.wait_consumers && !stop.load(std::memory_order_relaxed)) {
    wait_until(monotonic_ns() + kTickNs, stop);
  }

  const uint64_t began_ns = monotonic_ns();
  uint64_t first_us = 0;
  uint64_t since_flush = 0;
  TracePlayer::Step step = TracePlayer::Step::kEnd;
  while (!stop.load(std::memory_order_relaxed)) {
    step = player_->next();
    if (step == TracePlayer::Step::kEnd || step == TracePlayer::Step::kCut) break;
    const uint64_t at_us = player_->timestamp_us();
    if (first_us == 0) first_us = at_us;
    if (options_.speed > 0 && at_us > first_us) {
      const double distance_ns = static_cast<double>(at_us - first_us) * 1000 / options_.speed;
      const uint64_t due_ns = began_ns + static_cast<uint64_t>(std::min(distance_ns, 1e18));
      if (due_ns > monotonic_ns()) wait_until(due_ns, stop);
    } else if (++since_flush % 256 == 0) {
      wait_until(0, stop);
    }
    if (step == TracePlayer::Step::kRecord) {
      give();
    } else {
      const ebpf_gap& gap = player_->gap();
      publisher_.add_gap(0, gap.cause, gap.count, gap.timestamp_us);
    }
  }
  wait_until(0, stop);
  if (step == TracePlayer::Step::kCut) {
    log_(LogLevel::kWarn, options_.path + " is cut off or damaged behind record " +
                              std::to_string(records()) + "; the rest is not replayed");
  }
  finished_.store(true, std::memory_order_release);
}

}  // namespace ebpf

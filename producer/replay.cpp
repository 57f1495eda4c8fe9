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

void Replay::give(TracePlayer::Step step) {
  if (step == TracePlayer::Step::kGap) {
    const ebpf_gap& gap = player_->gap();
    publisher_.add_gap(0, gap.cause, gap.count, gap.timestamp_us + shift_.time_us);
    return;
  }
  SK_BPF_DATA data = player_->record().data;
  span_.socket_id = std::max(span_.socket_id, data.socket_id);
  span_.trace_id = std::max(span_.trace_id, data.syscall_trace_id_call);
  data.timestamp += shift_.time_us;
  data.socket_id += shift_.socket_id;
  if (data.syscall_trace_id_call != 0) data.syscall_trace_id_call += shift_.trace_id;
  publisher_.add(data, player_->payload());
  records_.fetch_add(1, std::memory_order_relaxed);
}

TracePlayer::Step Replay::play_round(const std::atomic<bool>& stop, uint64_t began_ns) {
  TracePlayer::Step step = TracePlayer::Step::kEnd;
  while (!stop.load(std::memory_order_relaxed)) {
    step = player_->next();
    if (step == TracePlayer::Step::kEnd || step == TracePlayer::Step::kCut) break;
    const uint64_t in_file_us = player_->timestamp_us();
    if (span_.first_us == 0) span_.first_us = in_file_us;
    span_.last_us = std::max(span_.last_us, in_file_us);
    const uint64_t at_us = in_file_us + shift_.time_us;
    if (first_us_ == 0) first_us_ = at_us;
    if (options_.speed > 0 && at_us > first_us_) {
      const double distance_ns = static_cast<double>(at_us - first_us_) * 1000 / options_.speed;
      const uint64_t due_ns = began_ns + static_cast<uint64_t>(std::min(distance_ns, 1e18));
      if (due_ns > monotonic_ns()) wait_until(due_ns, stop);
    } else if (++since_flush_ % 256 == 0) {
      wait_until(0, stop);
    }
    give(step);
  }
  return step;
}

bool Replay::begin_again() {
  if (records() == 0) return false;  // it would be busy with nothing
  shift_.time_us += span_.last_us - span_.first_us + 1;
  shift_.socket_id += span_.socket_id;
  shift_.trace_id += span_.trace_id;
  span_ = {};
  if (auto rewound = player_->rewind(); !rewound) {
    log_(LogLevel::kError, rewound.error().message);
    return false;
  }
  return true;
}

void Replay::run(const std::atomic<bool>& stop) {
  while (slots_.count() < options_.wait_consumers && !stop.load(std::memory_order_relaxed)) {
    wait_until(monotonic_ns() + kTickNs, stop);
  }

  const uint64_t began_ns = monotonic_ns();
  bool told = false;
  do {
    if (play_round(stop, began_ns) == TracePlayer::Step::kCut && !told) {
      told = true;
      log_(LogLevel::kWarn, options_.path + " is cut off or damaged behind record " +
                                std::to_string(records()) + "; the rest is not replayed");
    }
  } while (options_.loop && !stop.load(std::memory_order_relaxed) && begin_again());
  wait_until(0, stop);
  finished_.store(true, std::memory_order_release);
}

}  // namespace ebpf

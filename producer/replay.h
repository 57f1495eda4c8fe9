// SPDX-License-Identifier: Apache-2.0
// Replays a recorded trace into the ring, in place of the kernel side.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "producer/log.h"
#include "producer/publisher.h"
#include "producer/trace_player.h"

namespace ebpf {

struct ReplayOptions {
  std::string path;             // empty: no replay
  double speed = 1;             // 2: twice as fast; 0: without waiting
  uint32_t wait_consumers = 0;  // begin when so many are attached
  bool loop = false;            // at the file's end, begin again
  double linger_s = 1;          // after the last record, at most, for consumers to leave
};

class Replay {
 public:
  // All outlive the replay.
  Replay(const ReplayOptions& options, std::unique_ptr<TracePlayer> player, Publisher& publisher,
         ConsumerSlots& slots, LogSink log);

  // Until the file's end or `stop`. Runs on the drain thread.
  void run(const std::atomic<bool>& stop);

  uint64_t records() const { return records_.load(std::memory_order_relaxed); }
  bool finished() const { return finished_.load(std::memory_order_acquire); }

 private:
  // What a round adds, so that no round repeats a time or an id of the one before.
  struct Shift {
    uint64_t time_us = 0;
    uint64_t socket_id = 0;
    uint64_t trace_id = 0;
  };
  // What a round went through: first and last time, the largest ids.
  struct Span {
    uint64_t first_us = 0;
    uint64_t last_us = 0;
    uint64_t socket_id = 0;
    uint64_t trace_id = 0;
  };

  void wait_until(uint64_t due_ns, const std::atomic<bool>& stop);
  TracePlayer::Step play_round(const std::atomic<bool>& stop, uint64_t began_ns);
  void give(TracePlayer::Step step);
  bool begin_again();

  ReplayOptions options_;
  std::unique_ptr<TracePlayer> player_;
  Publisher& publisher_;
  ConsumerSlots& slots_;
  LogSink log_;
  Shift shift_;
  Span span_;
  uint64_t first_us_ = 0;  // of the first round
  uint64_t since_flush_ = 0;
  std::atomic<uint64_t> records_{0};
  std::atomic<bool> finished_{false};
};

}  // namespace ebpf

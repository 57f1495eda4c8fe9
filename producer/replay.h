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
  void wait_until(uint64_t due_ns, const std::atomic<bool>& stop);
  void give();

  ReplayOptions options_;
  std::unique_ptr<TracePlayer> player_;
  Publisher& publisher_;
  ConsumerSlots& slots_;
  LogSink log_;
  std::atomic<uint64_t> records_{0};
  std::atomic<bool> finished_{false};
};

}  // namespace ebpf

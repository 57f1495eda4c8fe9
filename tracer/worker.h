// SPDX-License-Identifier: Apache-2.0
// One thread that calls back. It reads the ring through a consumer of its own, which exists
// while the tracer runs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "consumer/consumer.h"
#include "libebpf/tracer.h"
#include "tracer/tracer_log.h"

namespace ebpf {

// What one of several workers takes, so that a socket is always the same one's: of every
// `lane_step` lanes the one at `lane_at`, and of their sockets, where several workers have to
// share them, one part of `shares`. It holds for producers with any number of lanes.
struct WorkerPlan {
  uint32_t lane_at = 0;
  uint32_t lane_step = 1;
  uint32_t share = 0;
  uint32_t shares = 1;

  uint64_t lanes() const;
  bool takes(uint64_t socket_id) const;
};

WorkerPlan plan_worker(uint32_t worker, uint32_t workers, uint32_t lane_count);

// Since the worker exists.
struct WorkerCounts {
  uint64_t enqueued = 0;  // as it stood a moment ago; 0 where another worker of the lane counts
  uint64_t dequeued = 0;
  uint64_t lost = 0;
  uint64_t alloc_failures = 0;
};

class Worker {
 public:
  using Callback = void (*)(SK_BPF_DATA*);

  // `log` outlives the worker. The thread starts at once, and idles.
  Worker(const WorkerPlan& plan, Callback callback, TracerLog& log);
  // Only for a worker that is idle.
  ~Worker();

  // While it is idle: from now on it delivers what is published at `socket_path`.
  Result<> attach(const std::string& socket_path, const std::string& name);

  // It shall detach: after what is there already, or at once.
  void leave(bool drain);
  bool idle();
  // The calling thread is this worker's: it runs in the callback.
  bool is_current() const { return thread_.get_id() == std::this_thread::get_id(); }

  WorkerCounts counts() const;

 private:
  enum class Order : int { kDeliver, kDrain, kLeave };

  static int on_record(const ebpf_record* record, uint32_t lane, void* user);
  int deliver(const ebpf_record& record);
  void run();
  void serve();
  int poll_once();
  void publish_counts();

  const WorkerPlan plan_;
  const Callback callback_;
  TracerLog& log_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::unique_ptr<Consumer> consumer_;  // the thread's, while it is there
  bool quit_ = false;
  std::atomic<Order> order_{Order::kDeliver};

  uint64_t past_enqueued_ = 0;  // of consumers that are over
  uint64_t past_lost_ = 0;
  std::atomic<uint64_t> enqueued_{0};
  std::atomic<uint64_t> dequeued_{0};
  std::atomic<uint64_t> lost_{0};
  std::atomic<uint64_t> alloc_failures_{0};
  std::thread thread_;
};

}  // namespace ebpf

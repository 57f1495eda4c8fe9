// SPDX-License-Identifier: Apache-2.0
// The one tracer of a process: where its records come from, its workers, its state.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libebpf/control.h"
#include "tracer/embedded_producer.h"
#include "tracer/worker.h"

namespace ebpf {

// The arguments of running_socket_tracer().
struct SocketTracerOptions {
  Worker::Callback callback = nullptr;
  int thread_nr = 0;
  uint32_t perf_pages_cnt = 0;
  uint32_t ring_size = 0;
  uint32_t max_socket_entries = 0;
  uint32_t max_trace_entries = 0;
  uint32_t socket_map_max_reclaim = 0;
};

class SocketTracer {
 public:
  // Attaches to a running producer or becomes one; stopped afterwards. `log` outlives it.
  static Result<std::unique_ptr<SocketTracer>> open(const SocketTracerOptions& options,
                                                    TracerLog& log);

  Result<> start();
  Result<> stop();
  SK_TRACE_STATS stats();

  // The process ends: workers leave, a producer of our own ends in order. Nothing of the
  // tracer may be used afterwards, and nothing is freed that a worker stuck in its callback
  // could still use.
  void shut_down();

 private:
  SocketTracer(const SocketTracerOptions& options, TracerLog& log);

  Result<> connect();
  Result<bool> attach_to_running();
  Result<> become_producer();
  void make_workers();
  Result<> attach_workers();
  void release_workers(bool drain);
  bool workers_idle();
  bool wait_idle(int timeout_ms);
  bool in_callback() const;
  Result<> switch_producer(bool running);

  const SocketTracerOptions options_;
  TracerLog& log_;
  const std::string socket_path_;
  std::unique_ptr<EmbeddedProducer> own_;  // nullptr: attached to another's
  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;  // the two below
  bool running_ = false;
  ebpf_msg_stats last_{};  // what the producer said last
};

}  // namespace ebpf

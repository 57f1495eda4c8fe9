// SPDX-License-Identifier: Apache-2.0
// A producer without its control socket: kernel side, drain thread and ring, to be switched on and
// off around a measurement.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <memory>
#include <thread>

#include "producer/drain.h"

namespace ebpf::bench {

// What happened while the pipeline was on.
struct PipelineRun {
  uint64_t emitted = 0;  // by the kernel side
  uint64_t lost = 0;     // of those, no room in the buffer
  uint64_t published = 0;
  double user_ns = 0;  // CPU time of the drain thread
  double system_ns = 0;
};

class Pipeline {
 public:
  static Result<std::unique_ptr<Pipeline>> open(const TracerOptions& options);
  ~Pipeline();

  KernelTracer& tracer() { return *tracer_; }
  Result<> start();
  Result<PipelineRun> stop();

 private:
  Pipeline() = default;
  Result<> build(const TracerOptions& options);

  std::unique_ptr<ConsumerSlots> slots_;
  std::unique_ptr<RingWriter> writer_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<KernelTracer> tracer_;
  std::unique_ptr<Drain> drain_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
  rusage usage_{};  // of the thread, written before it ends
  PipelineRun before_;
};

}  // namespace ebpf::bench

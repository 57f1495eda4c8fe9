// SPDX-License-Identifier: Apache-2.0
#include "trace_pipeline.h"

namespace ebpf::bench {
namespace {

double nanoseconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
}

}  // namespace

Result<std::unique_ptr<Pipeline>> Pipeline::open(const TracerOptions& options) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline);
  if (auto built = pipeline->build(options); !built) return built.error();
  return pipeline;
}

Result<> Pipeline::build(const TracerOptions& options) {
  RingOptions ring;
  ring.lane_count = options.lane_count;
  ring.cap_bytes = options.cap_bytes;
  ring.epoch = wall_us();
  slots_ = std::make_unique<ConsumerSlots>(ring.max_consumers, ring.lane_count, ring.epoch);
  auto writer = RingWriter::create(ring, *slots_);
  if (!writer) return writer.error();
  writer_ = std::move(*writer);
  publisher_ = std::make_unique<Publisher>(*writer_, *slots_, nullptr);
  auto tracer = KernelTracer::open(options, {});
  if (!tracer) return tracer.error();
  tracer_ = std::move(*tracer);
  drain_ = std::make_unique<Drain>(*tracer_, *publisher_, *slots_);
  return Unit{};
}

Pipeline::~Pipeline() {
  stop_.store(true);
  if (drain_) drain_->interrupt();
  if (thread_.joinable()) thread_.join();
}

Result<> Pipeline::start() {
  const KernelCounters counters = tracer_->counters();
  before_ = {counters[COUNTER_EMITTED], counters[COUNTER_LOST], writer_->published(0)};
  stop_.store(false);
  thread_ = std::thread([this] {
    drain_->run(stop_);
    getrusage(RUSAGE_THREAD, &usage_);
  });
  return tracer_->start();
}

Result<PipelineRun> Pipeline::stop() {
  // Detaching can take a second; that is no work of the drain. What came meanwhile, it takes then.
  stop_.store(true);
  drain_->interrupt();
  thread_.join();
  auto stopped = tracer_->stop();
  drain_->run(stop_);
  if (!stopped) return stopped.error();
  const KernelCounters counters = tracer_->counters();
  PipelineRun run;
  run.emitted = counters[COUNTER_EMITTED] - before_.emitted;
  run.lost = counters[COUNTER_LOST] - before_.lost;
  run.published = writer_->published(0) - before_.published;
  run.user_ns = nanoseconds(usage_.ru_utime);
  run.system_ns = nanoseconds(usage_.ru_stime);
  return run;
}

}  // namespace ebpf::bench

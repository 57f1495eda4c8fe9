// SPDX-License-Identifier: Apache-2.0
#include "tracer/worker.h"

#include <pthread.h>

#include <algorithm>
#include <new>

namespace ebpf {
namespace {

// How long a worker without records takes to notice that it shall leave. While it drains, it is
// longer than the producer takes to publish what it holds.
constexpr int kPollMs = 50;
constexpr uint64_t kCountsEvery = 64;  // records

void count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

uint64_t WorkerPlan::lanes() const {
  uint64_t mask = 0;
  for (uint32_t lane = lane_at; lane < EBPF_LANES_MAX; lane += lane_step) mask |= 1ull << lane;
  return mask;
}

bool WorkerPlan::takes(uint64_t socket_id) const {
  // Another hash than that of the lanes: the sockets of one lane must not end up on one worker.
  return shares == 1 || ((socket_id * 0xD6E8FEB86659FD93ull) >> 32) % shares == share;
}

WorkerPlan plan_worker(uint32_t worker, uint32_t workers, uint32_t lane_count) {
  WorkerPlan plan;
  plan.lane_step = std::clamp<uint32_t>(lane_count, 1, workers);
  plan.lane_at = worker % plan.lane_step;
  plan.share = worker / plan.lane_step;
  plan.shares = (workers - plan.lane_at - 1) / plan.lane_step + 1;
  return plan;
}

Worker::Worker(const WorkerPlan& plan, Callback callback, TracerLog& log)
    : plan_(plan), callback_(callback), log_(log) {
  thread_ = std::thread([this] { run(); });
}

Worker::~Worker() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    quit_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<> Worker::attach(const std::string& socket_path, const std::string& name) {
  ConsumerConfig config;
  config.socket_path = socket_path;
  config.name = name;
  config.lanes = plan_.lanes();
  config.spare_lanes = true;
  config.sink.on_record = on_record;
  config.sink.user = this;
  auto consumer = Consumer::open(std::move(config));
  if (!consumer) return consumer.error();
  order_.store(Order::kDeliver, std::memory_order_relaxed);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    consumer_ = std::move(*consumer);
  }
  wake_.notify_one();
  return Unit{};
}

void Worker::leave(bool drain) {
  order_.store(drain ? Order::kDrain : Order::kLeave, std::memory_order_relaxed);
}

bool Worker::idle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return consumer_ == nullptr;
}

WorkerCounts Worker::counts() const {
  WorkerCounts counts;
  counts.dequeued = dequeued_.load(std::memory_order_relaxed);
  counts.enqueued = enqueued_.load(std::memory_order_relaxed);
  counts.lost = lost_.load(std::memory_order_relaxed);
  counts.alloc_failures = alloc_failures_.load(std::memory_order_relaxed);
  return counts;
}

void Worker::run() {
  pthread_setname_np(pthread_self(), "ebpf-worker");
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return quit_ || consumer_ != nullptr; });
      if (quit_) return;
    }
    serve();
    publish_counts();
    past_enqueued_ = enqueued_.load(std::memory_order_relaxed);
    past_lost_ = lost_.load(std::memory_order_relaxed);
    const std::lock_guard<std::mutex> lock(mutex_);
    consumer_.reset();
  }
}

void Worker::serve() {
  for (;;) {
    const Order order = order_.load(std::memory_order_relaxed);
    if (order == Order::kLeave) return;
    const int delivered = poll_once();
    publish_counts();
    if (order == Order::kDrain && delivered <= 0) return;
  }
}

// The consumer finds the next producer by itself; what it reports is passing.
int Worker::poll_once() {
  try {
    return consumer_->poll(kPollMs);
  } catch (const std::bad_alloc&) {
    count(alloc_failures_);
    return -ENOMEM;
  }
}

int Worker::on_record(const ebpf_record* record, uint32_t, void* user) {
  return static_cast<Worker*>(user)->deliver(*record);
}

// noexcept: an exception of the callback's must not be taken for one of ours.
static void call(Worker::Callback callback, SK_BPF_DATA* data) noexcept { callback(data); }

int Worker::deliver(const ebpf_record& record) {
  if (order_.load(std::memory_order_relaxed) == Order::kLeave) return 1;
  if (!plan_.takes(record.data.socket_id)) return 0;
  SK_BPF_DATA data = record.data;
  // The original's callback takes a char*, though nobody may write there: the mapping is
  // read-only.
  data.cap_data = const_cast<char*>(reinterpret_cast<const char*>(ebpf_record_payload(&record)));
  count(dequeued_);
  call(callback_, &data);
  if (dequeued_.load(std::memory_order_relaxed) % kCountsEvery == 0) publish_counts();
  return order_.load(std::memory_order_relaxed) == Order::kLeave ? 1 : 0;
}

// What is published is counted once where workers share it.
void Worker::publish_counts() {
  struct ebpf_consumer_stats stats {};
  consumer_->fill_stats(stats);
  lost_.store(past_lost_ + stats.lost, std::memory_order_relaxed);
  if (plan_.share == 0) {
    enqueued_.store(past_enqueued_ + stats.published, std::memory_order_relaxed);
  }
}

}  // namespace ebpf

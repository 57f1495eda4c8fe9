// SPDX-License-Identifier: Apache-2.0
#include "tracer/socket_tracer.h"

#include <errno.h>
#include <signal.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>

#include "consumer/control_client.h"
#include "libebpf/detail/escape.h"

namespace ebpf {
namespace {

using std::chrono::milliseconds;

constexpr uint32_t kEntriesMax = 1u << 24;
constexpr uint32_t kPerfPagesMax = 65536;
constexpr int kDrainMs = 1000;  // for what was captured before a stop
constexpr int kLeaveMs = 5000;  // for callbacks that run
constexpr int kExitMs = 500;
constexpr int kConnectAttempts = 20;  // while another program becomes the producer
constexpr milliseconds kConnectPause{50};

Result<> check_range(const char* name, int64_t value, int64_t low, int64_t high, bool power) {
  const bool fits = value >= low && value <= high &&
                    (!power || std::has_single_bit(static_cast<uint64_t>(value)));
  if (fits) return Unit{};
  return Error{EINVAL, std::string(name) + " is " + std::to_string(value) + ", must be " +
                           (power ? "a power of two, " : "") + std::to_string(low) + " to " +
                           std::to_string(high)};
}

Result<> check_options(const SocketTracerOptions& options) {
  if (options.callback == nullptr) return Error{EINVAL, "callback is NULL"};
  struct {
    const char* name;
    int64_t value, low, high;
    bool power;
  } const numbers[] = {
      {"thread_nr", options.thread_nr, 1, EBPF_LANES_MAX, false},
      {"perf_pages_cnt", options.perf_pages_cnt, 1, kPerfPagesMax, true},
      {"ring_size", options.ring_size, 2, kEntriesMax, true},
      {"max_socket_entries", options.max_socket_entries, 1, kEntriesMax, false},
      {"max_trace_entries", options.max_trace_entries, 1, kEntriesMax, false},
      {"socket_map_max_reclaim", options.socket_map_max_reclaim, 1, kEntriesMax, false},
  };
  for (const auto& number : numbers) {
    auto checked = check_range(number.name, number.value, number.low, number.high, number.power);
    if (!checked) return checked;
  }
  return Unit{};
}

std::string find_socket_path() {
  const char* named = std::getenv(EBPF_SOCKET_ENV);
  return named != nullptr && *named != '\0' ? named : EBPF_SOCKET_DEFAULT;
}

Result<ebpf_msg_stats> ask_stats(const std::string& path) {
  auto client = ControlClient::connect(path);
  if (!client) return client.error();
  return client->get_stats();
}

// Threads that are made meanwhile take no signals: those are the program's own to handle.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

ProducerOptions producer_options(const SocketTracerOptions& options, const std::string& path) {
  ProducerOptions producer;
  const auto threads = static_cast<uint32_t>(options.thread_nr);
  producer.tracer.perf_pages = options.perf_pages_cnt;
  producer.tracer.perf_pages_least = options.perf_pages_cnt;
  producer.tracer.max_socket_entries = options.max_socket_entries;
  producer.tracer.max_trace_entries = options.max_trace_entries;
  producer.tracer.lane_count = threads;
  if (const char* file = secure_getenv("EBPF_BPF_FILE")) producer.tracer.bpf_file = file;
  producer.ring.lane_count = threads;
  producer.ring.ring_records = options.ring_size;
  // Our own workers must not take the places of other agents.
  producer.ring.max_consumers =
      std::min<uint32_t>(EBPF_CONSUMERS_DEFAULT + threads, EBPF_CONSUMERS_MAX);
  producer.socket_path = path;
  producer.socket_map_max_reclaim = options.socket_map_max_reclaim;
  producer.stopped = true;
  return producer;
}

}  // namespace

SocketTracer::SocketTracer(const SocketTracerOptions& options, TracerLog& log)
    : options_(options), log_(log), socket_path_(find_socket_path()) {}

// ---- opening ----------------------------------------------------------------------------

Result<std::unique_ptr<SocketTracer>> SocketTracer::open(const SocketTracerOptions& options,
                                                         TracerLog& log) {
  if (auto checked = check_options(options); !checked) return checked.error();
  std::unique_ptr<SocketTracer> tracer(new SocketTracer(options, log));
  const SignalsBlocked blocked;
  if (auto connected = tracer->connect(); !connected) return connected.error();
  tracer->make_workers();
  return tracer;
}

// Two programs may find at the same time that no producer runs. One of them becomes it, the
// other one attaches as soon as that is possible.
Result<> SocketTracer::connect() {
  for (int attempt = 1;; ++attempt) {
    auto attached = attach_to_running();
    if (!attached) return attached.error();
    if (*attached) return Unit{};
    auto became = become_producer();
    if (became || became.error().code != EADDRINUSE || attempt == kConnectAttempts) return became;
    std::this_thread::sleep_for(kConnectPause);
  }
}

// False: there is none.
Result<bool> SocketTracer::attach_to_running() {
  auto stats = ask_stats(socket_path_);
  if (!stats) {
    const int code = stats.error().code;
    if (code == ENOENT || code == ECONNREFUSED) return false;
    return stats.error();
  }
  last_ = *stats;
  log_.info("attached to the producer at " + escape(socket_path_) + ", pid " +
            std::to_string(last_.producer_pid) + "; its sizes hold, not the ones asked for");
  return true;
}

Result<> SocketTracer::become_producer() {
  auto own = EmbeddedProducer::create(producer_options(options_, socket_path_), log_.sink());
  if (!own) return own.error();
  auto stats = ask_stats(socket_path_);
  if (!stats) return stats.error();
  own_ = std::move(*own);
  last_ = *stats;
  log_.info("this program is the producer, at " + escape(socket_path_) + "; BPF object " +
            escape(bounded_string(last_.bpf_file)));
  return Unit{};
}

void SocketTracer::make_workers() {
  const auto count = static_cast<uint32_t>(options_.thread_nr);
  for (uint32_t i = 0; i < count; ++i) {
    const WorkerPlan plan = plan_worker(i, count, last_.lane_count);
    workers_.push_back(std::make_unique<Worker>(plan, options_.callback, log_));
  }
}

// ---- starting and stopping --------------------------------------------------------------

Result<> SocketTracer::start() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (running_) return Error{EALREADY, "it runs already"};
  if (!workers_idle() && (in_callback() || !wait_idle(kLeaveMs))) {
    return Error{EBUSY, "a callback has not returned since the last stop"};
  }
  if (auto attached = attach_workers(); !attached) return attached;
  if (own_) {
    if (auto switched = switch_producer(true); !switched) {
      release_workers(false);
      return switched;
    }
  }
  running_ = true;
  log_.info("tracer started");
  return Unit{};
}

Result<> SocketTracer::attach_workers() {
  for (auto& worker : workers_) {
    auto attached = worker->attach(socket_path_, program_invocation_short_name);
    if (attached) continue;
    release_workers(false);
    return attached;
  }
  return Unit{};
}

Result<> SocketTracer::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!running_) return Error{EALREADY, "it does not run"};
    if (own_) {
      if (auto switched = switch_producer(false); !switched) return switched;
    }
    running_ = false;
    release_workers(own_ != nullptr);
  }
  log_.info("tracer stopped");
  if (in_callback()) return Unit{};
  // Without the lock: a callback that is waited for may want to know how things stand.
  if (wait_idle(own_ ? kDrainMs : kLeaveMs)) return Unit{};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!running_) release_workers(false);
  }
  if (!wait_idle(kLeaveMs)) log_.write(LogLevel::kWarn, "a callback does not return");
  return Unit{};
}

void SocketTracer::release_workers(bool drain) {
  for (auto& worker : workers_) worker->leave(drain);
}

bool SocketTracer::workers_idle() {
  return std::all_of(workers_.begin(), workers_.end(), [](auto& worker) { return worker->idle(); });
}

bool SocketTracer::wait_idle(int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(timeout_ms);
  while (!workers_idle()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

bool SocketTracer::in_callback() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](auto& worker) { return worker->is_current(); });
}

Result<> SocketTracer::switch_producer(bool running) {
  auto client = ControlClient::connect(socket_path_);
  if (!client) return client.error();
  return running ? client->start() : client->stop();
}

void SocketTracer::shut_down() {
  release_workers(false);
  if (!in_callback()) wait_idle(kExitMs);
  own_.reset();
}

// ---- statistics -------------------------------------------------------------------------

SK_TRACE_STATS SocketTracer::stats() {
  auto fresh = ask_stats(socket_path_);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (fresh) last_ = *fresh;  // else: the producer is away, and this is how it was
  SK_TRACE_STATS stats{};
  stats.perf_pages_count = last_.perf_pages_count;
  stats.kern_lost = last_.kern_lost;
  stats.kern_socket_map_max = last_.kern_socket_map_max;
  stats.kern_socket_map_used = last_.kern_socket_map_used;
  stats.kern_trace_map_max = last_.kern_trace_map_max;
  stats.kern_trace_map_used = last_.kern_trace_map_used;
  stats.queue_capacity =
      static_cast<uint32_t>(std::min<uint64_t>(last_.lanes[0].capacity, UINT32_MAX));
  stats.queue_burst_count = last_.queue_burst_count;
  stats.socket_map_max_reclaim = last_.socket_map_max_reclaim;
  stats.mem_alloc_fail_count = last_.mem_alloc_fail_count;
  stats.worker_num = static_cast<uint16_t>(workers_.size());
  for (const auto& worker : workers_) {
    const WorkerCounts counts = worker->counts();
    stats.user_enqueue_count += counts.enqueued;
    stats.user_dequeue_count += counts.dequeued;
    stats.user_enqueue_lost += counts.lost;
    stats.mem_alloc_fail_count += counts.alloc_failures;
  }
  // What is enqueued is noted now and then only.
  stats.user_enqueue_count = std::max(stats.user_enqueue_count, stats.user_dequeue_count);
  // A replay needs no kernel to adapt to.
  stats.is_adapt_success = last_.is_adapt_success != 0 || last_.attach == EBPF_ATTACH_NONE;
  const bool own_stopped = own_ && last_.tracer_state != TRACER_RUNNING;
  stats.tracer_state = running_ && !own_stopped ? TRACER_RUNNING : TRACER_STOP;
  return stats;
}

}  // namespace ebpf

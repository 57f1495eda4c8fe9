// SPDX-License-Identifier: Apache-2.0
#include "producer/producer.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>

#include "producer/kernel_report.h"
#include "producer/wall_clock.h"

namespace ebpf {
namespace {

constexpr int kTickMs = 100;
constexpr uint32_t kReclaimBudget = 20'000;  // entries looked at per tick
constexpr uint32_t kDeadBudget = 200;

const DrainTiming& timing_of(const ProducerOptions& options) {
  return options.low_latency ? kLowLatencyTiming : kDefaultTiming;
}

}  // namespace

Producer::Producer(const ProducerOptions& options, LogSink log)
    : options_(options), log_(std::move(log)), started_ns_(monotonic_ns()) {}

std::unique_ptr<Producer> Producer::create(const ProducerOptions& options, LogSink log,
                                           StartError* why) {
  std::unique_ptr<Producer> producer(new Producer(options, std::move(log)));
  if (!producer->open_replay(why) || !producer->open_ring(why) || !producer->open_source(why) ||
      !producer->open_server(why) || !producer->start_source(why)) {
    return nullptr;
  }
  return producer;
}

Producer::~Producer() {
  // First no new events, then what is left in the buffers, then the end for the agents.
  if (tracer_) {
    if (auto stopped = tracer_->stop(); !stopped) {
      log_(LogLevel::kWarn, stopped.error().message);
    }
  }
  stop_.store(true, std::memory_order_relaxed);
  if (drain_) drain_->interrupt();
  if (drain_thread_.joinable()) drain_thread_.join();
  if (writer_) {
    writer_->end();
    slots_->wake_sleepers(UINT64_MAX);
  }
  server_.reset();
  if (recorder_) {
    recorder_->finish();
    log_(LogLevel::kInfo, "recorded " + std::to_string(recorder_->records()) + " records to " +
                              options_.record_path + ", " + std::to_string(recorder_->lost()) +
                              " lost");
  }
}

// Before the ring, which must have room for the longest record of the file.
bool Producer::open_replay(StartError* why) {
  if (options_.replay.path.empty()) return true;
  auto player = TracePlayer::open(options_.replay.path);
  if (!player) {
    *why = {StartStage::kOptions, player.error()};
    return false;
  }
  player_ = std::move(*player);
  options_.ring.cap_bytes = std::max(options_.ring.cap_bytes, player_->cap_bytes());
  return true;
}

bool Producer::open_ring(StartError* why) {
  if (options_.ring.epoch == 0) options_.ring.epoch = wall_us();
  slots_ = std::make_unique<ConsumerSlots>(options_.ring.max_consumers, options_.ring.lane_count,
                                           options_.ring.epoch, timing_of(options_).wake);
  auto writer = RingWriter::create(options_.ring, *slots_);
  if (!writer) {
    *why = {StartStage::kOptions, writer.error()};
    return false;
  }
  writer_ = std::move(*writer);
  if (!writer_->write_sealed()) {
    log_(LogLevel::kWarn,
         "this kernel has no F_SEAL_FUTURE_WRITE (Linux 5.1): a consumer that runs as root or as "
         "this user could write to the ring");
  }
  if (options_.ring.memory.huge_pages && writer_->pages() == EBPF_PAGES_PLAIN) {
    log_(LogLevel::kInfo, "no huge pages to be had: the ring is on plain ones");
  }
  if (!options_.record_path.empty()) {
    auto recorder = TraceRecorder::create(options_.record_path, options_.ring.cap_bytes, log_);
    if (!recorder) {
      *why = {StartStage::kOptions, recorder.error()};
      return false;
    }
    recorder_ = std::move(*recorder);
  }
  publisher_ = std::make_unique<Publisher>(*writer_, *slots_, recorder_.get());
  return true;
}

bool Producer::open_source(StartError* why) {
  if (player_) {
    replay_ =
        std::make_unique<Replay>(options_.replay, std::move(player_), *publisher_, *slots_, log_);
    source_ = "replay: " + options_.replay.path;
    return true;
  }
  auto tracer = KernelTracer::open(options_.tracer, log_);
  if (!tracer) {
    *why = {StartStage::kKernel, tracer.error()};
    return false;
  }
  tracer_ = std::move(*tracer);
  drain_ = std::make_unique<Drain>(*tracer_, *publisher_, *slots_, timing_of(options_));
  adapted_ = true;
  source_ = tracer_->bpf_file();
  return true;
}

bool Producer::open_server(StartError* why) {
  ControlHandlers handlers;
  handlers.fill_stats = [this](ebpf_msg_stats* stats) { fill_stats(stats); };
  handlers.fill_offsets = [this](ebpf_msg_offsets* offsets) { fill_offsets(offsets); };
  handlers.list_programs = [this](std::vector<ebpf_program_row>* rows) {
    if (tracer_) *rows = tracer_->programs();
  };
  handlers.list_maps = [this](std::vector<ebpf_map_row>* rows) {
    if (tracer_) *rows = tracer_->maps();
  };
  if (tracer_) handlers.count_runs = count_program_runs;
  handlers.start = [this] { return set_running(true); };
  handlers.stop = [this] { return set_running(false); };
  auto server = ControlServer::create(options_.socket_path, handlers, *slots_, *writer_, log_);
  if (!server) {
    *why = {StartStage::kSocket, server.error()};
    return false;
  }
  server_ = std::move(*server);
  return true;
}

bool Producer::start_source(StartError* why) {
  drain_thread_ = std::thread([this] {
    if (drain_) drain_->run(stop_);
    if (replay_) replay_->run(stop_);
  });
  if (options_.stopped) return true;
  if (auto started = set_running(true); !started) {
    *why = {StartStage::kKernel, started.error()};
    return false;
  }
  return true;
}

Result<> Producer::set_running(bool running) {
  if (tracer_) {
    auto result = running ? tracer_->start() : tracer_->stop();
    if (!result) return result;
  } else if (running != running_ && !running) {
    return Error{EOPNOTSUPP, "a replay cannot be stopped and started; end the producer instead"};
  }
  if (running != running_) log_(LogLevel::kInfo, running ? "tracer started" : "tracer stopped");
  running_ = running;
  return Unit{};
}

void Producer::run(int stop_fd) {
  while (true) {
    pollfd ready[2] = {{stop_fd, POLLIN, 0}, {server_->epoll_fd(), POLLIN, 0}};
    const int count = poll(ready, 2, kTickMs);
    if (count > 0 && (ready[0].revents & POLLIN)) return;
    if (count > 0 && ready[1].revents) server_->run_once(0);
    tick();
    if (replay_is_over()) return;
  }
}

void Producer::tick() {
  slots_->collect();
  server_->note_time();
  if (tracer_) reclaim_sockets();
}

void Producer::reclaim_sockets() {
  const KernelCounters counters = tracer_->counters();
  const uint64_t used = counters[COUNTER_SOCKET_INSERTED] - counters[COUNTER_SOCKET_DELETED];
  // A threshold at or above the map's size would never be reached.
  const uint32_t size = options_.tracer.max_socket_entries;
  const uint32_t threshold = std::min(options_.socket_map_max_reclaim, size - size / 64);
  if (used == 0) return;
  tracer_->forget_dead_sockets(kDeadBudget);
  if (used <= threshold) return;
  // Down to nine tenths of the threshold, so that it does not begin again at once.
  tracer_->reclaim_sockets(threshold / 10 * 9, kReclaimBudget);
}

bool Producer::replay_is_over() {
  if (!replay_ || !replay_->finished()) return false;
  const uint64_t now_ns = monotonic_ns();
  if (replay_ended_ns_ == 0) {
    replay_ended_ns_ = now_ns;
    log_(LogLevel::kInfo, "replayed " + std::to_string(replay_->records()) + " records");
  }
  const auto lingered_s = static_cast<double>(now_ns - replay_ended_ns_) / 1e9;
  const bool someone_came = options_.replay.wait_consumers > 0;
  return lingered_s >= options_.replay.linger_s || (someone_came && slots_->count() == 0);
}

}  // namespace ebpf

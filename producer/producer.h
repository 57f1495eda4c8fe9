// SPDX-License-Identifier: Apache-2.0
// A whole producer: kernel side or replay, ring, drain thread, control server. The daemon
// is a thin main() around it; a program may as well run one in its own process.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "producer/control_server.h"
#include "producer/drain.h"
#include "producer/kernel_tracer.h"
#include "producer/replay.h"
#include "producer/trace_recorder.h"

namespace ebpf {

struct ProducerOptions {
  TracerOptions tracer;
  RingOptions ring;
  ReplayOptions replay;
  std::string socket_path = EBPF_SOCKET_DEFAULT;
  std::string record_path;  // empty: not recorded
  uint32_t socket_map_max_reclaim = 520000;
  bool low_latency = false;  // wake at once and look often, whatever that costs
  bool stopped = false;      // wait for a START message before anything is captured
};

// Which part refused to start; the daemon makes exit codes of it.
enum class StartStage { kOptions, kSocket, kKernel };
struct StartError {
  StartStage stage;
  Error error;
};

class Producer {
 public:
  // Everything is up when it returns: agents can attach. nullptr: *why tells.
  static std::unique_ptr<Producer> create(const ProducerOptions& options, LogSink log,
                                          StartError* why);
  ~Producer();

  // Serves agents until the descriptor becomes readable (a signalfd, say) or a replay is
  // over. The calling thread is the control thread.
  void run(int stop_fd);

  const std::string& source() const { return source_; }  // what feeds the ring, for people

 private:
  Producer(const ProducerOptions& options, LogSink log);
  bool open_replay(StartError* why);
  bool open_ring(StartError* why);
  bool open_source(StartError* why);
  bool open_server(StartError* why);
  bool start_source(StartError* why);
  void tick();
  void reclaim_sockets();
  bool replay_is_over();
  void fill_stats(ebpf_msg_stats* stats) const;
  void fill_kernel_stats(ebpf_msg_stats* stats) const;
  void fill_lane_stats(ebpf_msg_stats* stats) const;
  void fill_offsets(ebpf_msg_offsets* offsets) const;
  Result<> set_running(bool running);

  ProducerOptions options_;
  LogSink log_;
  std::string source_;
  uint64_t started_ns_ = 0;
  uint64_t replay_ended_ns_ = 0;
  bool adapted_ = false;
  bool running_ = false;

  std::unique_ptr<ConsumerSlots> slots_;
  std::unique_ptr<RingWriter> writer_;
  std::unique_ptr<TraceRecorder> recorder_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<KernelTracer> tracer_;
  std::unique_ptr<Drain> drain_;
  std::unique_ptr<TracePlayer> player_;  // until the replay takes it
  std::unique_ptr<Replay> replay_;
  std::unique_ptr<ControlServer> server_;
  std::atomic<bool> stop_{false};
  std::thread drain_thread_;
};

}  // namespace ebpf

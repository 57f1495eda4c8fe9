// SPDX-License-Identifier: Apache-2.0
// The control socket: accepts agents and tools, answers the messages of
// include/libebpf/control.h, notices hang-ups. Runs on the control thread, which may
// block for short whiles; the drain thread never comes here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "producer/consumer_slots.h"
#include "producer/log.h"
#include "producer/peer_limits.h"
#include "producer/ring_writer.h"

namespace ebpf {

// What the server asks the rest of the producer; called on the control thread.
struct ControlHandlers {
  std::function<void(ebpf_msg_stats*)>
      fill_stats;  // header and consumer_count are set by the server
  std::function<void(ebpf_msg_offsets*)> fill_offsets;
  std::function<void(std::vector<ebpf_program_row>*)> list_programs;
  std::function<void(std::vector<ebpf_map_row>*)> list_maps;
  // Has the kernel count the runs of programs until the descriptor is closed.
  std::function<Result<UniqueFd>()> count_runs;
  std::function<Result<>()> start;
  std::function<Result<>()> stop;
};

// What was refused or ended, since the start; also told in EBPF_MSG_STATS.
struct ControlCounters {
  uint64_t connections_refused;
  uint64_t joins_refused;
  uint64_t evicted;  // consumers that broke the protocol, or that an operator detached
};

class ControlServer {
 public:
  // Binds `path` (directory made if missing, 0755; socket 0660, group EBPF_SOCKET_GROUP
  // where it exists). A lock file beside it, `path`.lock, makes sure that one producer
  // serves it: EADDRINUSE names the pid of the other. A stale socket is replaced.
  static Result<std::unique_ptr<ControlServer>> create(const std::string& path,
                                                       ControlHandlers handlers,
                                                       ConsumerSlots& slots, RingWriter& writer,
                                                       LogSink log,
                                                       const ControlLimits& limits = {});
  // Closes every connection, removes socket and lock file.
  ~ControlServer();

  int epoll_fd() const;           // readable when run_once() has something to do
  void run_once(int timeout_ms);  // handles what is there; a bounded number of messages
  void note_time();               // call several times a second: rates and lags come from it
  uint64_t undelivered() const;   // sum over consumers that are gone
  ControlCounters counters() const;

  class Impl;

 private:
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebpf

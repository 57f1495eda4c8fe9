// SPDX-License-Identifier: Apache-2.0
// Answers to the questions that change nothing: counters, offsets, the ring, programs, maps. Each
// returns whether the connection goes on. Control thread.
#pragma once

#include <cstdint>
#include <vector>

#include "libebpf/control.h"
#include "producer/control_connection.h"
#include "producer/control_server.h"
#include "producer/ring_report.h"

namespace ebpf {

class ControlAnswers {
 public:
  // All of them outlive the answers.
  ControlAnswers(const ControlHandlers& handlers, ConsumerSlots& slots, const RingWriter& writer)
      : handlers_(handlers), slots_(slots), report_(slots, writer) {}

  void note_time();  // several times a second: rates and lags come from it

  bool stats(const Connection& connection, const ControlCounters& counters);
  bool offsets(const Connection& connection);
  bool ring(const Connection& connection, const Packet& packet);
  bool programs(Connection& connection, const Packet& packet);
  bool maps(const Connection& connection, const Packet& packet);

 private:
  uint32_t count_runs_for(Connection& connection);
  void list_maps();

  const ControlHandlers& handlers_;
  ConsumerSlots& slots_;
  RingReport report_;
  std::vector<ebpf_map_row> maps_;
  uint64_t maps_listed_us_ = 0;
};

}  // namespace ebpf

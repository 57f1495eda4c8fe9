// SPDX-License-Identifier: Apache-2.0
// How ebpfctl shows the ring, its consumers, losses, programs and maps.
#pragma once

#include <string>
#include <vector>

#include "consumer/control_client.h"
#include "ctl/format.h"

namespace ebpf::ctl {

std::string ring_text(const RingState& state, const ebpf_msg_stats& stats, TextStyle style);
std::string ring_json(const RingState& state, const ebpf_msg_stats& stats);

// What every stage took in, lost and passed on. `in` is always `lost` + `pending` + `out`: the
// counters are not read at one instant, so that one of them is made of the others.
struct EventFlow {
  uint64_t in = 0;  // decided to emit, or read from a replayed file
  uint64_t perf_full = 0;
  uint64_t bad = 0;
  uint64_t no_room = 0;
  uint64_t pending = 0;  // on their way: in a perf buffer, or being published
  uint64_t published = 0;
};
EventFlow event_flow(const ebpf_msg_stats& stats);
// Socket calls that became no event, for whatever cause.
uint64_t calls_left_out(const ebpf_msg_stats& stats);

std::string loss_text(const RingState& state, const ebpf_msg_stats& stats, TextStyle style);
std::string loss_json(const RingState& state, const ebpf_msg_stats& stats);

// Two looks at the programs, so many seconds apart.
std::string programs_text(const ProgramList& before, const ProgramList& after, double seconds,
                          TextStyle style);
std::string programs_json(const ProgramList& before, const ProgramList& after, double seconds);

std::string maps_text(const std::vector<ebpf_map_row>& maps, TextStyle style);
std::string maps_json(const std::vector<ebpf_map_row>& maps);

std::string evicted_text(uint32_t consumer_id);
std::string evicted_json(uint32_t consumer_id);

const char* consumer_state_name(uint32_t state);
// The process that joined, and its name for itself where that one is not known; escaped.
std::string consumer_process(const ebpf_consumer_row& consumer);

}  // namespace ebpf::ctl

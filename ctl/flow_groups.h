// SPDX-License-Identifier: Apache-2.0
// Which records belong to one request, over all of its hops. A trace id names what one thread
// does between two receives; here the ids are joined:
//
// - what a process sends while it serves a request has the id of that request, or of an answer
//   that it got to a question of its own: the question, its answer and the request are one;
// - bytes that one process sends and another one of this host receives are the same message.
//
// A process that only asks begins a new group with each question.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libebpf/consumer.h"

namespace ebpf::ctl {

// A record that is kept, with its payload behind it as in the ring.
class KeptRecord {
 public:
  explicit KeptRecord(const ebpf_record& record);
  const ebpf_record& get() const { return *reinterpret_cast<const ebpf_record*>(bytes_.data()); }
  const SK_BPF_DATA& data() const { return get().data; }

 private:
  std::vector<uint64_t> bytes_;
};

// What one process sent and another received, or one half of it.
struct Hop {
  std::optional<size_t> sent;      // index of a record
  std::optional<size_t> received;  // index of a record
  size_t first() const { return sent ? *sent : *received; }
};

struct FlowGroup {
  std::vector<size_t> records;  // indices, in the order of time
  std::vector<Hop> hops;        // the same, with the two ends of a message joined
  std::vector<uint64_t> trace_ids;
};

// Sorts the records by time, and gives the groups by the time of their first record.
std::vector<FlowGroup> group_flows(std::vector<KeptRecord>& records);

// From its first record to its last, microseconds.
uint64_t duration_us(const FlowGroup& group, const std::vector<KeptRecord>& records);
size_t process_count(const FlowGroup& group, const std::vector<KeptRecord>& records);

}  // namespace ebpf::ctl

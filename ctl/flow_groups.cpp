// SPDX-License-Identifier: Apache-2.0
#include "ctl/flow_groups.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "ctl/packets.h"

namespace ebpf::ctl {
namespace {

constexpr uint8_t kTcp = 6;
// So many messages of one direction are remembered, to find the other end of the next.
constexpr size_t kRecentMax = 32;
// Datagrams have no sequence numbers: the same bytes within this time are the same datagram.
constexpr uint64_t kDatagramUs = 1'000'000;

enum class Role { kUnknown, kClient, kServer };

// One request that a process serves.
struct Span {
  uint32_t process_id;
  uint64_t socket_id;
  uint64_t trace_id;
  size_t record;  // any of its records
};

struct Socket {
  Role role = Role::kUnknown;
  std::optional<size_t> last_sent;  // record
  std::optional<size_t> span;       // that it asks for, or that came in by it
};

class Grouping {
 public:
  explicit Grouping(const std::vector<KeptRecord>& records)
      : records_(records), parent_(records.size()), other_end_(records.size()) {
    std::iota(parent_.begin(), parent_.end(), size_t{0});
  }

  void run() {
    for (size_t at = 0; at < records_.size(); ++at) {
      const SK_BPF_DATA& data = records_[at].data();
      Socket& socket = sockets_[data.socket_id];
      if (socket.role == Role::kUnknown && data.msg_type != MSG_UNKNOWN) {
        const bool asks = (data.msg_type == MSG_REQUEST) == (data.direction == SOCK_DIR_SND);
        socket.role = asks ? Role::kClient : Role::kServer;
      }
      if (data.direction == SOCK_DIR_SND) {
        sent(at, socket);
      } else {
        received(at, socket);
      }
      find_other_end(at);
    }
  }

  size_t root(size_t at) {
    while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
    return at;
  }
  const std::vector<std::optional<size_t>>& other_end() const { return other_end_; }

 private:
  void join(size_t a, size_t b) { parent_[root(std::max(a, b))] = root(std::min(a, b)); }

  void sent(size_t at, Socket& socket) {
    const SK_BPF_DATA& data = records_[at].data();
    std::optional<size_t> span;
    if (const auto owner = id_owner_.find(data.syscall_trace_id_call);
        owner != id_owner_.end() && spans_[owner->second].process_id == data.process_id) {
      span = owner->second;
    } else if (socket.role == Role::kServer) {
      span = socket.span;  // another thread answers
    }
    if (span) join(at, spans_[*span].record);
    if (socket.role != Role::kServer) {
      // The rest of a question that was not sent at once belongs to its beginning.
      if (!span && socket.last_sent && data.msg_type == MSG_UNKNOWN) join(at, *socket.last_sent);
      socket.span = span;
    }
    socket.last_sent = at;
  }

  void received(size_t at, Socket& socket) {
    const SK_BPF_DATA& data = records_[at].data();
    if (socket.role == Role::kClient) {
      if (socket.last_sent) join(at, *socket.last_sent);
      // From now on the process goes on with the id of the answer.
      if (socket.span) id_owner_[data.syscall_trace_id_call] = *socket.span;
      return;
    }
    const bool goes_on = socket.span && spans_[*socket.span].trace_id == data.syscall_trace_id_call;
    if (goes_on) {
      join(at, spans_[*socket.span].record);
      return;
    }
    spans_.push_back({data.process_id, data.socket_id, data.syscall_trace_id_call, at});
    socket.span = spans_.size() - 1;
    if (data.syscall_trace_id_call != 0) {
      id_owner_[data.syscall_trace_id_call] = spans_.size() - 1;
    }
  }

  bool same_message(const SK_BPF_DATA& one, const SK_BPF_DATA& two, size_t a, size_t b) const {
    if (one.socket_id == two.socket_id || one.direction == two.direction) return false;
    if (one.tuple.protocol != kTcp) {
      const uint64_t apart = one.timestamp > two.timestamp ? one.timestamp - two.timestamp
                                                           : two.timestamp - one.timestamp;
      const uint32_t bytes = std::min(one.cap_len, two.cap_len);
      return one.syscall_len == two.syscall_len && apart <= kDatagramUs &&
             std::memcmp(ebpf_record_payload(&records_[a].get()),
                         ebpf_record_payload(&records_[b].get()), bytes) == 0;
    }
    const auto first = static_cast<uint32_t>(one.tcp_seq);
    const auto second = static_cast<uint32_t>(two.tcp_seq);
    return second - first < one.syscall_len || first - second < two.syscall_len;
  }

  void find_other_end(size_t at) {
    const SK_BPF_DATA& data = records_[at].data();
    uint32_t end = 0;
    std::string key = connection_key(data, &end);
    const uint32_t sender = data.direction == SOCK_DIR_SND ? end : 1 - end;
    key += static_cast<char>(sender);
    std::vector<size_t>& recent = recent_[key];
    for (auto other = recent.rbegin(); other != recent.rend(); ++other) {
      if (!same_message(records_[*other].data(), data, *other, at)) continue;
      join(at, *other);
      if (!other_end_[*other] && !other_end_[at]) {
        other_end_[*other] = at;
        other_end_[at] = *other;
      }
      break;
    }
    if (recent.size() >= kRecentMax) recent.erase(recent.begin());
    recent.push_back(at);
  }

  const std::vector<KeptRecord>& records_;
  std::vector<size_t> parent_;
  std::vector<std::optional<size_t>> other_end_;
  std::vector<Span> spans_;
  std::unordered_map<uint64_t, Socket> sockets_;
  std::unordered_map<uint64_t, size_t> id_owner_;  // trace id: span
  std::unordered_map<std::string, std::vector<size_t>> recent_;
};

void add_hop(FlowGroup& group, const std::vector<KeptRecord>& records, size_t at,
             const std::optional<size_t>& other) {
  if (other && *other < at) return;  // stands there already
  const bool is_sent = records[at].data().direction == SOCK_DIR_SND;
  Hop hop;
  (is_sent ? hop.sent : hop.received) = at;
  if (other) (is_sent ? hop.received : hop.sent) = *other;
  group.hops.push_back(hop);
}

}  // namespace

KeptRecord::KeptRecord(const ebpf_record& record)
    : bytes_((sizeof record + record.data.cap_len + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {
  std::memcpy(bytes_.data(), &record, sizeof record + record.data.cap_len);
}

std::vector<FlowGroup> group_flows(std::vector<KeptRecord>& records) {
  std::stable_sort(records.begin(), records.end(), [](const KeptRecord& a, const KeptRecord& b) {
    return a.data().timestamp < b.data().timestamp;
  });
  Grouping grouping(records);
  grouping.run();
  std::map<size_t, FlowGroup> groups;  // by their first record
  for (size_t at = 0; at < records.size(); ++at) {
    FlowGroup& group = groups[grouping.root(at)];
    group.records.push_back(at);
    add_hop(group, records, at, grouping.other_end()[at]);
    const uint64_t id = records[at].data().syscall_trace_id_call;
    const auto& ids = group.trace_ids;
    if (id != 0 && std::find(ids.begin(), ids.end(), id) == ids.end())
      group.trace_ids.push_back(id);
  }
  std::vector<FlowGroup> result;
  for (auto& [first, group] : groups) result.push_back(std::move(group));
  return result;
}

uint64_t duration_us(const FlowGroup& group, const std::vector<KeptRecord>& records) {
  return records[group.records.back()].data().timestamp -
         records[group.records.front()].data().timestamp;
}

size_t process_count(const FlowGroup& group, const std::vector<KeptRecord>& records) {
  std::set<uint32_t> ids;
  for (const size_t at : group.records) ids.insert(records[at].data().process_id);
  return ids.size();
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
#include "ctl/top_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "consumer/view/format.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

constexpr uint16_t kProtocols[EBPF_PROTOCOL_COUNT] = {
    SOCK_DATA_UNKNOWN, SOCK_DATA_HTTP1, SOCK_DATA_HTTP2, SOCK_DATA_DUBBO,
    SOCK_DATA_MYSQL,   SOCK_DATA_REDIS, SOCK_DATA_KAFKA, SOCK_DATA_DNS};
constexpr uint32_t kIdleIntervals = 30;  // after so many, a process or socket is forgotten

std::string name_of(const SK_BPF_DATA& data) {
  const auto* name = reinterpret_cast<const char*>(data.process_name);
  return escape({name, ::strnlen(name, sizeof(data.process_name))});
}

std::string end_text(const uint8_t (&address)[16], const tuple_t& tuple, uint16_t port) {
  const std::string text = address_text(address, tuple.addr_len);
  return (tuple.addr_len == 6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

double per_second(uint64_t now, uint64_t before, double seconds) {
  return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

bool is_wanted(const std::string& line, const std::string& filter) {
  return filter.empty() || line.find(filter) != std::string::npos;
}

// The busiest first, or by name; equal ones in an order that does not jump.
template <class Row, class Key>
void sort_rows(std::vector<Row>& rows, TopSort sort, Key key) {
  std::sort(rows.begin(), rows.end(), [sort, key](const Row& a, const Row& b) {
    if (sort == TopSort::kName && a.name != b.name) return a.name < b.name;
    const double left = sort == TopSort::kBytes ? a.rate.bytes_per_s : a.rate.records_per_s;
    const double right = sort == TopSort::kBytes ? b.rate.bytes_per_s : b.rate.records_per_s;
    return left != right ? left > right : key(a) < key(b);
  });
}

// Forgets what was idle for long.
template <class Map>
void age(Map& map) {
  for (auto each = map.begin(); each != map.end();) {
    each->second.idle = each->second.count.records == 0 ? each->second.idle + 1 : 0;
    each->second.count = {};
    each = each->second.idle > kIdleIntervals ? map.erase(each) : std::next(each);
  }
}

}  // namespace

// ---- latency ----------------------------------------------------------------------------

// Sixteen buckets for each power of two.
void LatencyHistogram::add(uint64_t us) {
  const auto bits = static_cast<size_t>(std::bit_width(us));
  const size_t index = bits <= 4 ? us : (bits - 4) * 16 + (us >> (bits - 5) & 15);
  buckets_[std::min(index, kBuckets - 1)]++;
  count_++;
}

void LatencyHistogram::add(const LatencyHistogram& other) {
  for (size_t i = 0; i < kBuckets; i++) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

uint64_t LatencyHistogram::percentile_us(double percent) const {
  if (count_ == 0) return 0;
  const auto wanted = static_cast<uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100));
  uint64_t seen = 0;
  size_t index = 0;
  while (index + 1 < kBuckets && (seen += buckets_[index]) < std::max<uint64_t>(wanted, 1)) index++;
  if (index < 16) return index;
  const size_t shift = index / 16 - 1;
  return (16 + index % 16) << shift;
}

// ---- records ----------------------------------------------------------------------------

TopRate TopModel::Count::rate(double seconds) const {
  return {per_second(records, 0, seconds), per_second(bytes, 0, seconds)};
}

void TopModel::add(const ebpf_record& record) {
  const SK_BPF_DATA& data = record.data;
  Protocol& protocol = protocols_[ebpf_protocol_index(data.l7_protocal_hint)];
  protocol.count.add(data);
  if (data.msg_type == MSG_REQUEST) protocol.requests++;
  if (data.msg_type == MSG_RESPONSE) protocol.responses++;

  auto process = processes_.find(data.process_id);
  if (process == processes_.end() && processes_.size() < kProcessesMax) {
    process = processes_.try_emplace(data.process_id).first;
  }
  auto socket = sockets_.find(data.socket_id);
  if (socket == sockets_.end() && sockets_.size() < kSocketsMax) {
    socket = sockets_.try_emplace(data.socket_id).first;
  }
  if (process == processes_.end() || socket == sockets_.end()) {
    not_kept_++;
    return;
  }
  process->second.name = name_of(data);
  process->second.count.add(data);
  socket->second.pid = data.process_id;
  socket->second.name = process->second.name;
  socket->second.protocol = data.l7_protocal_hint;
  socket->second.tuple = data.tuple;
  socket->second.count.add(data);
  match(socket->second, protocol, data);
}

// The oldest request of the socket is the one that is answered: what HTTP/1, Redis and MySQL
// promise, and what the others mostly do.
void TopModel::match(Socket& socket, Protocol& protocol, const SK_BPF_DATA& data) {
  if (data.msg_type == MSG_REQUEST) {
    if (socket.pending.size() == kPendingMax) socket.pending.pop_front();
    socket.pending.push_back(data.timestamp);
  } else if (data.msg_type == MSG_RESPONSE && !socket.pending.empty()) {
    const uint64_t asked = socket.pending.front();
    socket.pending.pop_front();
    if (protocol.latencies.empty()) protocol.latencies.emplace_front();
    if (data.timestamp >= asked) protocol.latencies.front().add(data.timestamp - asked);
  }
}

// ---- views ------------------------------------------------------------------------------

TopView TopModel::take(double interval_s, const ebpf_msg_stats& stats, const RingState& ring,
                       TopSort sort, const std::string& filter) {
  TopView view;
  view.interval_s = interval_s;
  view.stats = stats;
  view.ring = ring;
  view.own_lost = own_lost_;
  view.own_not_kept = not_kept_;
  // Another epoch's counters begin anew.
  const ebpf_msg_stats before = last_stats_.epoch == stats.epoch ? last_stats_ : stats;
  const auto rate = [interval_s](uint64_t now, uint64_t then) {
    return per_second(now, then, interval_s);
  };
  view.stages = {rate(calls_left_out(stats), calls_left_out(before)),
                 rate(event_flow(stats).in, event_flow(before).in),
                 rate(stats.kern_lost, before.kern_lost),
                 rate(stats.user_enqueue_lost, before.user_enqueue_lost),
                 rate(stats.user_enqueue_count, before.user_enqueue_count)};
  view.protocols = protocols(interval_s);
  view.processes = processes(interval_s, sort, filter);
  view.sockets = sockets(interval_s, sort, filter);
  last_stats_ = stats;
  end_interval();
  return view;
}

TopView TopModel::take_gone(double interval_s, const std::string& problem) {
  TopView view;
  view.interval_s = interval_s;
  view.problem = problem;
  view.own_lost = own_lost_;
  last_stats_ = {};
  end_interval();
  return view;
}

void TopModel::end_interval() {
  for (Protocol& protocol : protocols_) {
    protocol.count = {};
    protocol.requests = protocol.responses = 0;
    if (protocol.latencies.empty()) continue;
    protocol.latencies.emplace_front();
    if (protocol.latencies.size() > kLatencyIntervals) protocol.latencies.pop_back();
  }
  age(processes_);
  age(sockets_);
}

std::vector<TopProtocol> TopModel::protocols(double seconds) const {
  std::vector<TopProtocol> rows;
  for (uint32_t index = 0; index < EBPF_PROTOCOL_COUNT; index++) {
    const Protocol& protocol = protocols_[index];
    LatencyHistogram sum;
    for (const LatencyHistogram& each : protocol.latencies) sum.add(each);
    if (protocol.count.records == 0 && sum.count() == 0) continue;
    rows.push_back({ebpf_protocol_name(kProtocols[index]), protocol.count.rate(seconds),
                    per_second(protocol.requests, 0, seconds),
                    per_second(protocol.responses, 0, seconds), sum.count(), sum.percentile_us(50),
                    sum.percentile_us(99)});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const TopProtocol& a, const TopProtocol& b) {
    return a.rate.records_per_s > b.rate.records_per_s;
  });
  return rows;
}

std::vector<TopProcess> TopModel::processes(double seconds, TopSort sort,
                                            const std::string& filter) const {
  std::unordered_map<uint32_t, size_t> socket_counts;
  for (const auto& [id, socket] : sockets_) socket_counts[socket.pid]++;
  std::vector<TopProcess> rows;
  for (const auto& [pid, process] : processes_) {
    if (process.count.records == 0) continue;
    if (!is_wanted(std::to_string(pid) + " " + process.name, filter)) continue;
    rows.push_back({pid, process.name, process.count.rate(seconds), socket_counts[pid]});
  }
  sort_rows(rows, sort, [](const TopProcess& row) { return row.pid; });
  return rows;
}

std::vector<TopSocket> TopModel::sockets(double seconds, TopSort sort,
                                         const std::string& filter) const {
  std::vector<TopSocket> rows;
  for (const auto& [id, socket] : sockets_) {
    if (socket.count.records == 0) continue;
    TopSocket row{id,
                  socket.pid,
                  socket.name,
                  ebpf_protocol_name(socket.protocol),
                  end_text(socket.tuple.laddr, socket.tuple, socket.tuple.lport),
                  end_text(socket.tuple.raddr, socket.tuple, socket.tuple.rport),
                  socket.count.rate(seconds)};
    const std::string line = std::to_string(row.pid) + " " + row.name + " " + row.protocol + " " +
                             row.local + " " + row.remote;
    if (is_wanted(line, filter)) rows.push_back(std::move(row));
  }
  sort_rows(rows, sort, [](const TopSocket& row) { return row.id; });
  return rows;
}

}  // namespace ebpf::ctl

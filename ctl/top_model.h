// SPDX-License-Identifier: Apache-2.0
// What `ebpfctl top` knows: adds up records as they come, and gives a view of the last interval.
// No clock, no terminal and no socket of its own.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "consumer/control_client.h"
#include "ctl/format_ring.h"
#include "libebpf/consumer.h"

namespace ebpf::ctl {

// Times of requests, to within 7 %.
class LatencyHistogram {
 public:
  void add(uint64_t us);
  void add(const LatencyHistogram& other);
  void clear() { *this = {}; }
  uint64_t count() const { return count_; }
  // The time below which so many of a hundred stay; 0 where there is none.
  uint64_t percentile_us(double percent) const;

 private:
  static constexpr size_t kBuckets = 16 * 44;
  std::array<uint32_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
};

struct TopRate {
  double records_per_s = 0;
  double bytes_per_s = 0;
};

struct TopProtocol {
  const char* name;
  TopRate rate;
  double requests_per_s;
  double responses_per_s;
  uint64_t matched;  // requests whose response came, over the last intervals
  uint64_t p50_us;
  uint64_t p99_us;
};

struct TopProcess {
  uint32_t pid;
  std::string name;  // escaped
  TopRate rate;
  size_t sockets;
};

struct TopSocket {
  uint64_t id;
  uint32_t pid;
  std::string name;  // escaped
  const char* protocol;
  std::string local;
  std::string remote;
  TopRate rate;
};

enum class TopSort { kRecords, kBytes, kName };

struct TopStages {
  double left_out_per_s = 0;
  double emitted_per_s = 0;
  double perf_lost_per_s = 0;
  double no_room_per_s = 0;
  double published_per_s = 0;
};

struct TopView {
  std::string problem;  // why the producer could not be asked; "": it answered
  double interval_s = 0;
  ebpf_msg_stats stats{};
  RingState ring{};
  TopStages stages;
  uint64_t own_lost = 0;      // by this consumer, since it began
  uint64_t own_not_kept = 0;  // records of processes or sockets beyond what is kept
  std::vector<TopProtocol> protocols;
  std::vector<TopProcess> processes;
  std::vector<TopSocket> sockets;
};

class TopModel {
 public:
  void add(const ebpf_record& record);
  // What the rates of the first interval are counted from.
  void begin(const ebpf_msg_stats& stats) { last_stats_ = stats; }
  void set_own_lost(uint64_t lost) { own_lost_ = lost; }

  // Ends an interval: what came since the last call becomes rates. `filter`: only processes and
  // sockets in whose line it stands; "": all.
  TopView take(double interval_s, const ebpf_msg_stats& stats, const RingState& ring, TopSort sort,
               const std::string& filter);
  // The same while the producer is gone.
  TopView take_gone(double interval_s, const std::string& problem);

  // So many are kept; what is idle goes first.
  static constexpr size_t kSocketsMax = 16384;
  static constexpr size_t kProcessesMax = 4096;
  static constexpr size_t kPendingMax = 64;  // requests of one socket without response
  static constexpr size_t kLatencyIntervals = 10;

 private:
  struct Count {
    uint64_t records = 0;
    uint64_t bytes = 0;
    void add(const SK_BPF_DATA& data) {
      records++;
      bytes += data.syscall_len;
    }
    TopRate rate(double seconds) const;
  };
  struct Protocol {
    Count count;
    uint64_t requests = 0;
    uint64_t responses = 0;
    std::deque<LatencyHistogram> latencies;  // the newest first
  };
  struct Process {
    std::string name;
    Count count;
    uint64_t sockets = 0;
    uint32_t idle = 0;  // intervals without a record
  };
  struct Socket {
    uint32_t pid = 0;
    std::string name;
    uint16_t protocol = 0;
    tuple_t tuple{};
    Count count;
    uint32_t idle = 0;
    std::deque<uint64_t> pending;  // when requests came that have no response yet
  };

  void match(Socket& socket, Protocol& protocol, const SK_BPF_DATA& data);
  void end_interval();
  std::vector<TopProtocol> protocols(double seconds) const;
  std::vector<TopProcess> processes(double seconds, TopSort sort, const std::string& filter) const;
  std::vector<TopSocket> sockets(double seconds, TopSort sort, const std::string& filter) const;

  std::array<Protocol, EBPF_PROTOCOL_COUNT> protocols_{};
  std::unordered_map<uint32_t, Process> processes_;
  std::unordered_map<uint64_t, Socket> sockets_;
  ebpf_msg_stats last_stats_{};
  uint64_t own_lost_ = 0;
  uint64_t not_kept_ = 0;
};

// ---- how a view looks ---------------------------------------------------------------------

enum class LineKind { kPlain, kTitle, kHeading, kAlert };
struct TopLine {
  std::string text;  // printable ASCII
  LineKind kind = LineKind::kPlain;
};

// At most `height` lines of at most `width` characters; every section gets its share of them.
// height 0: as many as it takes.
std::vector<TopLine> top_lines(const TopView& view, size_t width, size_t height);
std::string top_json(const TopView& view);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// What the parts of drain_bench are made of, each a process of its own: an ebpf-producer whose
// programs make events on demand, a process that demands them, and a consumer of the C ABI.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"

namespace ebpf::bench {

struct RigOptions {
  std::string directory;  // for the socket
  std::string transport = "auto";
  uint32_t bytes = 640;  // payload of each event
  bool low_latency = false;
  bool generator = true;          // false: the usual programs
  bool one_cpu = false;           // producer and generator share one
  std::vector<std::string> more;  // arguments of the producer
};

// A thread of the producer, as the scheduler accounts for it.
struct ThreadTime {
  uint64_t cpu_ns = 0;
  uint64_t runs = 0;  // times that it was put on a CPU
};
struct ProducerTime {
  ThreadTime control;
  ThreadTime drain;
};

class ProducerProcess {
 public:
  static Result<std::unique_ptr<ProducerProcess>> start(const RigOptions& options);
  ~ProducerProcess();

  Result<ebpf_msg_stats> stats() const;
  // Waits until everything that was emitted is published or lost.
  Result<ebpf_msg_stats> settled_stats() const;
  ProducerTime time() const;
  const std::string& socket_path() const { return socket_path_; }

 private:
  ProducerProcess() = default;
  Result<> wait_until_ready(int out);
  ThreadTime time_of(pid_t thread) const;

  pid_t pid_ = -1;
  pid_t drain_ = -1;
  std::string socket_path_;
};

// What a consumer saw. Shared with its process.
struct Seen {
  uint64_t delivered;
  uint64_t lapped;
  uint64_t upstream_lost;
  uint64_t wrong;  // events that are not what the generator made
  uint64_t latency_count;
};

class ConsumerProcess {
 public:
  // Attached when it returns.
  static Result<std::unique_ptr<ConsumerProcess>> start(const std::string& socket_path,
                                                        bool keep_latencies);
  ~ConsumerProcess();

  // When it has read everything; it ends.
  Result<Seen> finish();
  // From the hook's clock to the callback, ns, in order of arrival; of the first ones only,
  // if there were too many. After finish().
  std::vector<uint32_t> latencies() const;

 private:
  struct Shared;
  ConsumerProcess() = default;
  [[noreturn]] static void serve(Shared& shared, const std::string& socket_path);

  pid_t pid_ = -1;
  Shared* shared_ = nullptr;
};

struct StormOrder {
  uint32_t bytes = 640;
  uint64_t per_second = 0;  // 0: as fast as it goes
  double seconds = 1;
  bool one_cpu = false;
};
struct StormReport {
  uint64_t events;
  double seconds;
};
// Another process demands events, and this one waits for it.
Result<StormReport> run_storm(const StormOrder& order);

}  // namespace ebpf::bench

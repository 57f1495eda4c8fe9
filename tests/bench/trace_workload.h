// SPDX-License-Identifier: Apache-2.0
// The traced process of trace_bench: a child with one thread that repeats a system call when it is
// told to, and says how much CPU time each took.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::bench {

enum class Work : uint32_t {
  kPair,       // send of 512 bytes and receive, over loopback
  kWriteNull,  // write to /dev/null
  kWriteFile,  // write to a file in memory
  kGetuid,
};

// Bytes of one send, a whole HTTP request.
constexpr uint32_t kWorkBytes = 512;

class Workload {
 public:
  static Result<Workload> start();
  Workload(Workload&&) = default;
  ~Workload();

  pid_t pid() const { return pid_; }
  // Repeats the work `chunks` times `repeats` times, with a pause after each chunk in which
  // whoever traces can catch up. CPU time of the thread for one repetition, ns, chunk by chunk.
  Result<std::vector<double>> run(Work work, uint32_t chunks, uint32_t repeats, long pause_us);

 private:
  Workload(pid_t pid, UniqueFd link) : pid_(pid), link_(std::move(link)) {}

  pid_t pid_;
  UniqueFd link_;  // its end tells the child to leave
};

}  // namespace ebpf::bench

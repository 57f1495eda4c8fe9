// SPDX-License-Identifier: Apache-2.0
// A perf buffer cannot be told to wake its reader for one event. So each CPU has a second, tiny
// one, that wakes with whatever is written to it; nobody reads what that is.
#pragma once

#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

class PerfBells {
 public:
  PerfBells() = default;
  PerfBells(const PerfBells&) = delete;
  PerfBells& operator=(const PerfBells&) = delete;
  ~PerfBells();

  // `map_fd` is the programs' map of bells, by CPU; `epoll_fd` becomes readable when one rings.
  // After an error there are none.
  Result<> open(int map_fd, int epoll_fd, const std::vector<int>& cpus);

  bool are_open() const { return !events_.empty(); }

 private:
  Result<> open_one(int map_fd, int epoll_fd, int cpu);
  void close();

  std::vector<UniqueFd> events_;
  std::vector<void*> mappings_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// Makes one BPF ring buffer for each CPU, maps them, and gives them to the programs.
#pragma once

#include <cstddef>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/cpu_buffer.h"

namespace ebpf {

class EventRings {
 public:
  EventRings() = default;
  EventRings(const EventRings&) = delete;
  EventRings& operator=(const EventRings&) = delete;
  ~EventRings();

  // `outer_fd` is the programs' map of rings, by CPU. Adds one buffer for each CPU to *buffers.
  Result<> open(int outer_fd, const std::vector<int>& cpus, size_t data_bytes,
                std::vector<CpuBuffer>* buffers);

  // Readable when a program has woken us.
  int epoll_fd() const { return epoll_.get(); }

 private:
  struct Mapping {
    void* address;
    size_t bytes;
  };
  Result<void*> map(int fd, size_t bytes, int protection, size_t offset);
  Result<> open_one(int outer_fd, int cpu, size_t data_bytes, std::vector<CpuBuffer>* buffers);

  std::vector<UniqueFd> rings_;
  std::vector<Mapping> mappings_;
  UniqueFd epoll_;
};

}  // namespace ebpf

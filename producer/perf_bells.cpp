// SPDX-License-Identifier: Apache-2.0
#include "producer/perf_bells.h"

#include <bpf/bpf.h>
#include <linux/perf_event.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace ebpf {
namespace {

// One page of what the kernel tells of itself, and one of data.
size_t mapped_bytes() { return 2 * static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

PerfBells::~PerfBells() { close(); }

void PerfBells::close() {
  for (void* mapping : mappings_) munmap(mapping, mapped_bytes());
  mappings_.clear();
  events_.clear();
}

Result<> PerfBells::open_one(int map_fd, int epoll_fd, int cpu) {
  const auto failed = [cpu](const char* step) {
    return errno_error(std::string("cannot ") + step + " a bell for CPU " + std::to_string(cpu));
  };
  perf_event_attr attr = {};
  attr.size = sizeof(attr);
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  attr.wakeup_events = 1;
  UniqueFd event(
      static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!event) return failed("open");
  // Mapped for reading only, it is overwritten when it is full.
  void* mapping = mmap(nullptr, mapped_bytes(), PROT_READ, MAP_SHARED, event.get(), 0);
  if (mapping == MAP_FAILED) return failed("map");
  mappings_.push_back(mapping);
  if (ioctl(event.get(), PERF_EVENT_IOC_ENABLE, 0) != 0) return failed("switch on");
  epoll_event interest = {};
  interest.events = EPOLLIN;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.get(), &interest) != 0) return failed("wait for");
  const int fd = event.get();
  if (bpf_map_update_elem(map_fd, &cpu, &fd, BPF_ANY) != 0) return failed("hand over");
  events_.push_back(std::move(event));
  return Unit{};
}

Result<> PerfBells::open(int map_fd, int epoll_fd, const std::vector<int>& cpus) {
  for (const int cpu : cpus) {
    auto opened = open_one(map_fd, epoll_fd, cpu);
    if (opened) continue;
    close();
    return opened;
  }
  return Unit{};
}

}  // namespace ebpf

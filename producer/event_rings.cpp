// SPDX-License-Identifier: Apache-2.0
#include "producer/event_rings.h"

#include <bpf/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace ebpf {

EventRings::~EventRings() {
  for (const Mapping& mapping : mappings_) munmap(mapping.address, mapping.bytes);
}

Result<void*> EventRings::map(int fd, size_t bytes, int protection, size_t offset) {
  void* address = mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return errno_error("cannot map a BPF ring buffer");
  mappings_.push_back({address, bytes});
  return address;
}

Result<> EventRings::open_one(int outer_fd, int cpu, size_t data_bytes,
                              std::vector<CpuBuffer>* buffers) {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  UniqueFd ring(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "event_ring", 0, 0,
                               static_cast<uint32_t>(data_bytes), nullptr));
  if (ring.get() < 0) {
    return errno_error("cannot make a BPF ring buffer of " + std::to_string(data_bytes / 1024) +
                       " KiB for CPU " + std::to_string(cpu));
  }
  auto consumer = map(ring.get(), page_bytes, PROT_READ | PROT_WRITE, 0);
  if (!consumer) return consumer.error();
  auto producer = map(ring.get(), page_bytes + 2 * data_bytes, PROT_READ, page_bytes);
  if (!producer) return producer.error();
  const int fd = ring.get();
  if (bpf_map_update_elem(outer_fd, &cpu, &fd, BPF_ANY) != 0) {
    return errno_error("cannot give the BPF ring buffer of CPU " + std::to_string(cpu) +
                       " to the programs");
  }
  // By edges: what is too young to be taken must not keep the drain from sleeping.
  epoll_event interest = {};
  interest.events = EPOLLIN | EPOLLET;
  interest.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) {
    return errno_error("cannot wait for a BPF ring buffer");
  }
  const auto* written = static_cast<const uint8_t*>(*producer);
  buffers->emplace_back(RingCpu(cpu, static_cast<uint64_t*>(*consumer),
                                reinterpret_cast<const uint64_t*>(written), written + page_bytes,
                                data_bytes));
  rings_.push_back(std::move(ring));
  return Unit{};
}

Result<> EventRings::open(int outer_fd, const std::vector<int>& cpus, size_t data_bytes,
                          std::vector<CpuBuffer>* buffers) {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (epoll_.get() < 0) return errno_error("cannot make an epoll descriptor");
  for (const int cpu : cpus) {
    if (auto opened = open_one(outer_fd, cpu, data_bytes, buffers); !opened) return opened;
  }
  return Unit{};
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/kernel_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <time.h>

#include <algorithm>

#include "bpf/socket_state.h"

namespace ebpf {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kIdleLongNs = 60 * kSecondNs;
constexpr uint64_t kIdleShortNs = 10 * kSecondNs;

uint64_t monotonic_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecondNs + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

std::vector<uint64_t> sum_over_cpus(int fd, uint32_t key, uint32_t value_count) {
  const auto cpus = static_cast<size_t>(std::max(libbpf_num_possible_cpus(), 1));
  std::vector<uint64_t> all(cpus * value_count);
  std::vector<uint64_t> sums(value_count);
  if (bpf_map_lookup_elem(fd, &key, all.data()) != 0) return sums;
  for (size_t i = 0; i < all.size(); i++) sums[i % value_count] += all[i];
  return sums;
}

SocketSweep::SocketSweep(int map_fd) : fd_(map_fd), idle_ns_(kIdleLongNs) {}

bool SocketSweep::next_key(uint64_t* key) {
  if (!has_cursor_ && bpf_map_get_next_key(fd_, nullptr, &cursor_) != 0) return false;
  *key = cursor_;
  // The next one is looked up before this one may be removed: from a key that is gone, the
  // kernel starts again at the front.
  has_cursor_ = bpf_map_get_next_key(fd_, key, &cursor_) == 0;
  return true;
}

uint32_t SocketSweep::run(uint64_t used, uint32_t target, uint32_t budget) {
  const uint64_t now = monotonic_ns();
  uint32_t removed = 0;
  for (uint32_t looked = 0; looked < budget && used > target; looked++) {
    uint64_t key;
    if (!next_key(&key)) break;
    socket_entry entry;
    if (bpf_map_lookup_elem(fd_, &key, &entry) == 0 && now > entry.last_use_ns &&
        now - entry.last_use_ns > idle_ns_ && bpf_map_delete_elem(fd_, &key) == 0) {
      removed++;
      used--;
    }
    // End of a walk: the next one is stricter if it was not enough.
    if (!has_cursor_)
      idle_ns_ = idle_ns_ == kIdleLongNs && used > target ? kIdleShortNs : kIdleLongNs;
  }
  removed_ += removed;
  return removed;
}

}  // namespace ebpf

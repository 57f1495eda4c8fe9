// SPDX-License-Identifier: Apache-2.0
#include "producer/kernel_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "bpf/socket_state.h"

namespace ebpf {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kIdleLongNs = 60 * kSecondNs;
constexpr uint64_t kIdleShortNs = 10 * kSecondNs;
constexpr uint64_t kMaybeDeadNs = kSecondNs;

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

DeadSocketSweep::DeadSocketSweep(int socket_map_fd, int liveness_map_fd)
    : fd_(socket_map_fd),
      liveness_fd_(liveness_map_fd),
      null_(open("/dev/null", O_WRONLY | O_CLOEXEC)) {
  void* at =
      mmap(nullptr, sizeof(liveness_query), PROT_READ | PROT_WRITE, MAP_SHARED, liveness_fd_, 0);
  if (at != MAP_FAILED) mapped_ = static_cast<liveness_query*>(at);
}

DeadSocketSweep::~DeadSocketSweep() {
  if (mapped_ != nullptr) munmap(mapped_, sizeof(liveness_query));
}

bool DeadSocketSweep::is_dead(uint64_t sk) {
  const uint32_t key = 0;
  const char byte = 0;
  liveness_query query = {sk, 0};
  if (mapped_ != nullptr) {
    // The programs answer within the system call, which no compiler looks behind.
    *mapped_ = query;
    if (write(null_.get(), &byte, 1) != 1) return false;
    query = *mapped_;
  } else {
    if (bpf_map_update_elem(liveness_fd_, &key, &query, BPF_ANY) != 0) return false;
    if (write(null_.get(), &byte, 1) != 1) return false;
    if (bpf_map_lookup_elem(liveness_fd_, &key, &query) != 0) return false;
  }
  return query.sk == 0 && query.is_dead != 0;
}

void DeadSocketSweep::read_next(uint32_t budget) {
  entries_.clear();
  if (has_batches_ && read_batch(budget)) return;
  read_one_by_one(budget);
}

// One system call for all. False: the kernel (before 5.6) cannot, or not this time.
bool DeadSocketSweep::read_batch(uint32_t budget) {
  keys_.resize(budget);
  values_.resize(budget);
  uint32_t count = budget;
  uint64_t next = 0;
  const int error = bpf_map_lookup_batch(fd_, has_cursor_ ? &cursor_ : nullptr, &next, keys_.data(),
                                         values_.data(), &count, nullptr);
  if (error != 0 && error != -ENOENT) {  // that is the end of the map
    has_batches_ = false;
    has_cursor_ = false;
    return false;
  }
  has_cursor_ = error == 0;
  cursor_ = next;
  for (uint32_t i = 0; i < count; i++) {
    entries_.push_back({keys_[i], values_[i].inode, values_[i].last_use_ns});
  }
  return true;
}

void DeadSocketSweep::read_one_by_one(uint32_t budget) {
  while (entries_.size() < budget) {
    if (!has_cursor_ && bpf_map_get_next_key(fd_, nullptr, &cursor_) != 0) return;
    const uint64_t key = cursor_;
    // The next one is looked up before this one may be removed; see SocketSweep::next_key().
    has_cursor_ = bpf_map_get_next_key(fd_, &key, &cursor_) == 0;
    socket_entry entry;
    if (bpf_map_lookup_elem(fd_, &key, &entry) == 0) {
      entries_.push_back({key, entry.inode, entry.last_use_ns});
    }
    if (!has_cursor_) return;
  }
}

uint32_t DeadSocketSweep::run(uint32_t budget) {
  const uint64_t now = monotonic_ns();
  if (!has_cursor_) {
    // A walk goes through all buckets, used or not, which takes long in a large map.
    if (now < next_walk_ns_) return 0;
    next_walk_ns_ = now + kMaybeDeadNs;
  }
  read_next(budget);
  uint32_t removed = 0;
  for (const Entry& entry : entries_) {
    if (now <= entry.last_use_ns || now - entry.last_use_ns <= kMaybeDeadNs || !is_dead(entry.sk)) {
      continue;
    }
    // Looked at again before it goes: its address may have become another socket's.
    socket_entry again;
    if (bpf_map_lookup_elem(fd_, &entry.sk, &again) == 0 && again.inode == entry.inode &&
        bpf_map_delete_elem(fd_, &entry.sk) == 0) {
      removed++;
    }
  }
  removed_ += removed;
  return removed;
}

}  // namespace ebpf

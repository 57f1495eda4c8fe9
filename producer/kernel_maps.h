// SPDX-License-Identifier: Apache-2.0
// Reads what the BPF programs count, and sweeps the socket map.
#pragma once

#include <cstdint>
#include <vector>

#include "bpf/socket_state.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/kernel_tracer.h"

namespace ebpf {

// Sum over the CPUs of each of `value_count` u64 in element `key` of a per-CPU array.
std::vector<uint64_t> sum_over_cpus(int fd, uint32_t key, uint32_t value_count);

// Walks the socket map in bounded steps and removes what has been idle for long.
class SocketSweep {
 public:
  explicit SocketSweep(int map_fd);

  // `used` is the number of entries now. Removes until `target` are left or `budget` were
  // looked at; goes on where the last call stopped. Returns how many were removed.
  uint32_t run(uint64_t used, uint32_t target, uint32_t budget);

  uint64_t removed() const { return removed_; }  // since the start

 private:
  bool next_key(uint64_t* key);

  int fd_;
  bool has_cursor_ = false;
  uint64_t cursor_ = 0;  // the next key to look at
  uint64_t idle_ns_;     // what counts as idle, on this walk through the map
  uint64_t removed_ = 0;
};

// Removes the entries of sockets that have ended without saying so: UDP ones, and TCP ones that
// were reset before they were closed. The programs look; see struct liveness_query.
class DeadSocketSweep {
 public:
  DeadSocketSweep(int socket_map_fd, int liveness_map_fd);
  ~DeadSocketSweep();
  DeadSocketSweep(const DeadSocketSweep&) = delete;
  DeadSocketSweep& operator=(const DeadSocketSweep&) = delete;

  // Looks at `budget` entries, goes on where the last call stopped; begins a new walk through the
  // map a second after the last one began, not earlier. Returns how many were removed. To be
  // called while the programs are attached.
  uint32_t run(uint32_t budget);

  uint64_t removed() const { return removed_; }  // since the start

 private:
  struct Entry {
    uint64_t sk;
    uint64_t inode;
    uint64_t last_use_ns;
  };

  // The walk's next entries, into entries_.
  void read_next(uint32_t budget);
  bool read_batch(uint32_t budget);
  void read_one_by_one(uint32_t budget);
  bool is_dead(uint64_t sk);

  int fd_;
  int liveness_fd_;
  liveness_query* mapped_ = nullptr;  // the question, where the kernel maps arrays
  UniqueFd null_;                     // writing there is the system call that is answered
  bool has_batches_ = true;           // unless the kernel says otherwise
  bool has_cursor_ = false;           // in the middle of a walk
  uint64_t cursor_ = 0;               // the next key, or where the next batch begins
  std::vector<Entry> entries_;
  std::vector<uint64_t> keys_;
  std::vector<socket_entry> values_;
  uint64_t next_walk_ns_ = 0;
  uint64_t removed_ = 0;
};

}  // namespace ebpf

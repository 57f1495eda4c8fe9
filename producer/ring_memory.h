// SPDX-License-Identifier: Apache-2.0
// Memory that is shared with consumers: a sealed memfd and the producer's own writable
// mapping of it. Used for the ring's data and for every control page.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/ring_placement.h"

namespace ebpf {

class RingMemory {
 public:
  // Zeroed memory of exactly so many bytes (whole pages), mapped read-write here.
  // `name` shows up in /proc/PID/maps; `mode` are the permissions of the inode.
  // With huge pages it may be a little more than `bytes`: whole ones.
  static Result<RingMemory> create(const char* name, uint64_t bytes, uint32_t mode,
                                   const MemoryOptions& options = {});

  uint8_t* base() const { return static_cast<uint8_t*>(region_.get_address()); }
  uint64_t bytes() const { return region_.get_size(); }

  // Takes the first so many bytes from the system now (all of it to prefault it), so that a
  // lack of memory is an error here and not a fault later, in the middle of a burst.
  Result<> reserve(uint64_t bytes);

  // EBPF_PAGES_*: what it got; certain after reserve().
  uint32_t pages() const { return pages_; }

  // A descriptor of its own that can only read. Needs /proc.
  Result<UniqueFd> open_read_only() const;

  // From here on the size is fixed and the seals are final. With `future_write`, nobody
  // can ever get write access again, but for the mapping that this object has. Returns
  // whether that one holds: kernels before 5.1 do not know it.
  Result<bool> seal(bool future_write);

  // The read-write descriptor; the mapping goes on without it.
  UniqueFd take_fd() { return std::move(fd_); }

 private:
  Result<> open_memfd(const char* name, uint64_t bytes);
  Result<> size_and_map(uint64_t bytes);
  void populate(uint64_t bytes);

  MemoryOptions options_;
  uint32_t pages_ = 0;
  uint64_t huge_page_bytes_ = 0;  // 0: not a hugetlb memfd
  UniqueFd fd_;
  boost::interprocess::mapped_region region_;
};

}  // namespace ebpf

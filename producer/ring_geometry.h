// SPDX-License-Identifier: Apache-2.0
// How many segments and blocks of which size a ring has, from its options. Arithmetic only.
#pragma once

#include <cstdint>

#include "libebpf/detail/result.h"
#include "libebpf/ring_layout.h"

namespace ebpf {

struct RingOptions;

struct RingGeometry {
  uint32_t block_bytes = 0;
  uint32_t records_per_segment = 0;  // full-size ones, at least
  uint32_t window_segments = 0;
  uint32_t dir_entries = 0;
  uint32_t block_count = 0;
  uint64_t lane_bytes = 0;
  uint64_t blocks_offset = 0;
  uint64_t total_bytes = 0;

  // Room for records in a segment.
  uint32_t room() const { return block_bytes - static_cast<uint32_t>(sizeof(ebpf_block_header)); }
};

// EINVAL, with the option and the limit, for options that no ring can have.
Result<RingGeometry> plan_ring(const RingOptions& options);

}  // namespace ebpf

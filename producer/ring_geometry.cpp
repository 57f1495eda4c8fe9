// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_geometry.h"

#include <algorithm>
#include <string>

#include "producer/ring_writer.h"

namespace ebpf {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kSegmentBytes = 256 * 1024;
constexpr uint64_t kSegmentBytesMax = 64 * 1024 * 1024;
// A small ring still gets about so many segments, so that retiring one costs little of
// the window, and a segment still holds several records of the largest size.
constexpr uint64_t kSegmentsPerWindow = 16;
constexpr uint64_t kRecordsPerSegment = 8;
// Keeps every number below within its field, far beyond what a machine has memory for.
constexpr uint64_t kTotalBytesMax = 1ull << 44;

uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
uint64_t round_up(uint64_t value, uint64_t to) { return ceil_div(value, to) * to; }

Error out_of_range(const char* option, uint64_t value, uint64_t low, uint64_t high) {
  return {EINVAL, std::string(option) + " is " + std::to_string(value) + ", must be " +
                      std::to_string(low) + " to " + std::to_string(high)};
}

uint64_t choose_block_bytes(uint64_t records_per_lane, uint64_t record_bytes) {
  const uint64_t header = sizeof(ebpf_block_header);
  const uint64_t wanted = header + ceil_div(records_per_lane, kSegmentsPerWindow) * record_bytes;
  const uint64_t least = round_up(header + kRecordsPerSegment * record_bytes, kPageBytes);
  return std::clamp(round_up(wanted, kPageBytes), least, std::max(least, kSegmentBytes));
}

// The smallest power of two above the window: the entry of the segment that opens next is
// never one of a live segment.
uint64_t choose_dir_entries(uint64_t window) {
  uint64_t entries = 4;
  while (entries <= window) entries *= 2;
  return entries;
}

Result<> check_options(const RingOptions& options) {
  if (options.lane_count < 1 || options.lane_count > EBPF_LANES_MAX) {
    return out_of_range("lane_count", options.lane_count, 1, EBPF_LANES_MAX);
  }
  if (options.max_consumers < 1 || options.max_consumers > EBPF_CONSUMERS_MAX) {
    return out_of_range("max_consumers", options.max_consumers, 1, EBPF_CONSUMERS_MAX);
  }
  if (options.cap_bytes < 1 || options.cap_bytes > EBPF_CAP_BYTES_MAX) {
    return out_of_range("cap_bytes", options.cap_bytes, 1, EBPF_CAP_BYTES_MAX);
  }
  if (options.ring_records < 1) {
    return out_of_range("ring_records", options.ring_records, 1, UINT32_MAX);
  }
  return Unit{};
}

Result<uint64_t> pick_block_bytes(const RingOptions& options, uint64_t records_per_lane) {
  const uint64_t record_bytes = ebpf_record_bytes(options.cap_bytes);
  if (options.segment_bytes == 0) return choose_block_bytes(records_per_lane, record_bytes);
  const uint64_t least = round_up(sizeof(ebpf_block_header) + 2 * record_bytes, kPageBytes);
  if (options.segment_bytes % kPageBytes != 0 || options.segment_bytes < least ||
      options.segment_bytes > kSegmentBytesMax) {
    return Error{EINVAL, "segment_bytes is " + std::to_string(options.segment_bytes) +
                             ", must be a multiple of 4096 from " + std::to_string(least) + " to " +
                             std::to_string(kSegmentBytesMax)};
  }
  return uint64_t{options.segment_bytes};
}

}  // namespace

Result<RingGeometry> plan_ring(const RingOptions& options) {
  if (auto checked = check_options(options); !checked) return checked.error();
  const uint64_t lanes = options.lane_count;
  const uint64_t records_per_lane = ceil_div(options.ring_records, lanes);
  auto block_bytes = pick_block_bytes(options, records_per_lane);
  if (!block_bytes) return block_bytes.error();

  const uint64_t room = *block_bytes - sizeof(ebpf_block_header);
  const uint64_t per_segment = room / ebpf_record_bytes(options.cap_bytes);
  // One segment more than the records need: the open one may be empty.
  const uint64_t window = std::max<uint64_t>(ceil_div(records_per_lane, per_segment) + 1, 2);
  const uint64_t entries = choose_dir_entries(window);
  // Live segments, one block for each pin that may name a retired one, one to take for
  // each lane: a free block is always there, whatever the pins do.
  const uint64_t blocks = lanes * window + uint64_t{options.max_consumers} * lanes + lanes;

  RingGeometry plan;
  plan.lane_bytes = round_up(sizeof(ebpf_lane_header) + entries * sizeof(uint32_t), kPageBytes);
  plan.blocks_offset = kPageBytes + lanes * plan.lane_bytes;
  plan.total_bytes = plan.blocks_offset + blocks * *block_bytes;
  if (plan.total_bytes > kTotalBytesMax || blocks >= UINT32_MAX) {
    return Error{EINVAL, "ring_records is " + std::to_string(options.ring_records) +
                             ": such a ring would take " + std::to_string(plan.total_bytes) +
                             " bytes, at most " + std::to_string(kTotalBytesMax) + " are possible"};
  }
  plan.block_bytes = static_cast<uint32_t>(*block_bytes);
  plan.records_per_segment = static_cast<uint32_t>(per_segment);
  plan.window_segments = static_cast<uint32_t>(window);
  plan.dir_entries = static_cast<uint32_t>(entries);
  plan.block_count = static_cast<uint32_t>(blocks);
  return plan;
}

}  // namespace ebpf

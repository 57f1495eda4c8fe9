// SPDX-License-Identifier: Apache-2.0
#include "consumer/ring_view.h"

#include <bit>

#include "libebpf/shm_atomic.h"

namespace ebpf {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kTotalBytesMax = 1ull
                                    << 44;  // products of what is bounded below stay in 64 bits
constexpr uint32_t kDirEntriesMax = 1u << 24;

Error bad(const char* field, uint64_t value, const std::string& expected) {
  return {EBADMSG, std::string("the ring's ") + field + " is " + std::to_string(value) +
                       ", expected " + expected};
}

std::string between(uint64_t low, uint64_t high) {
  return std::to_string(low) + " to " + std::to_string(high);
}

Result<> check_identity(const ebpf_ring_header& h, size_t mapped_bytes) {
  if (h.magic != EBPF_RING_MAGIC) return bad("magic", h.magic, std::to_string(EBPF_RING_MAGIC));
  if (h.layout_version != EBPF_RING_LAYOUT_VERSION) {
    return Error{EPROTO, "this library reads ring layout version " +
                             std::to_string(EBPF_RING_LAYOUT_VERSION) + ", the producer writes " +
                             std::to_string(h.layout_version)};
  }
  if (h.header_bytes != sizeof(ebpf_ring_header)) {
    return bad("header size", h.header_bytes, std::to_string(sizeof(ebpf_ring_header)));
  }
  if (h.epoch == 0) return bad("epoch", h.epoch, "anything else");
  if (h.total_bytes != mapped_bytes || h.total_bytes > kTotalBytesMax) {
    return bad("total size", h.total_bytes,
               "the size of its memory, " + std::to_string(mapped_bytes));
  }
  return Unit{};
}

Result<> check_counts(const ebpf_ring_header& h) {
  if (h.lane_count < 1 || h.lane_count > EBPF_LANES_MAX) {
    return bad("lane count", h.lane_count, between(1, EBPF_LANES_MAX));
  }
  if (h.max_consumers < 1 || h.max_consumers > EBPF_CONSUMERS_MAX) {
    return bad("consumer limit", h.max_consumers, between(1, EBPF_CONSUMERS_MAX));
  }
  if (h.window_segments < 2 || h.window_segments >= kDirEntriesMax) {
    return bad("window", h.window_segments, between(2, kDirEntriesMax - 1));
  }
  if (!std::has_single_bit(h.dir_entries) || h.dir_entries <= h.window_segments ||
      h.dir_entries > kDirEntriesMax) {
    return bad("directory size", h.dir_entries, "a power of two above the window");
  }
  const uint64_t blocks = uint64_t{h.lane_count} * h.window_segments +
                          uint64_t{h.max_consumers} * h.lane_count + h.lane_count;
  if (h.block_count != blocks) return bad("block count", h.block_count, std::to_string(blocks));
  if (h.cap_bytes > EBPF_CAP_BYTES_MAX) {
    return bad("capture limit", h.cap_bytes, between(0, EBPF_CAP_BYTES_MAX));
  }
  return Unit{};
}

Result<> check_places(const ebpf_ring_header& h) {
  const uint64_t full_block = sizeof(ebpf_block_header) + uint64_t{ebpf_record_bytes(h.cap_bytes)};
  if (h.block_bytes % kPage != 0 || h.block_bytes < full_block) {
    return bad("block size", h.block_bytes, "whole pages, and room for one record");
  }
  const uint64_t lane_need = sizeof(ebpf_lane_header) + uint64_t{h.dir_entries} * sizeof(uint32_t);
  if (h.lane_bytes % kPage != 0 || h.lane_bytes < lane_need || h.lane_bytes > h.total_bytes) {
    return bad("lane size", h.lane_bytes, "whole pages, at least " + std::to_string(lane_need));
  }
  if (h.lanes_offset % EBPF_CACHE_LINE != 0 || h.lanes_offset < sizeof(ebpf_ring_header) ||
      h.lanes_offset > h.total_bytes) {
    return bad("lanes offset", h.lanes_offset, "one behind the header, on a cache line");
  }
  // Bounded above: the sums and products below cannot overflow.
  if (h.blocks_offset % kPage != 0 || h.blocks_offset > h.total_bytes ||
      h.blocks_offset < h.lanes_offset + h.lane_count * h.lane_bytes) {
    return bad("blocks offset", h.blocks_offset, "one behind the lanes, on a page");
  }
  const uint64_t end = h.blocks_offset + uint64_t{h.block_count} * h.block_bytes;
  if (end > h.total_bytes) return bad("end", end, "at most " + std::to_string(h.total_bytes));
  return Unit{};
}

}  // namespace

Result<RingView> RingView::create(const void* base, size_t mapped_bytes) {
  if (mapped_bytes < sizeof(ebpf_ring_header)) {
    return bad("memory", mapped_bytes,
               "at least a header of " + std::to_string(sizeof(ebpf_ring_header)));
  }
  // A copy: what was checked is what is used, whatever happens to the memory later.
  ebpf_ring_header h;
  std::memcpy(&h, base, offsetof(ebpf_ring_header, state));
  if (auto ok = check_identity(h, mapped_bytes); !ok) return ok.error();
  if (auto ok = check_counts(h); !ok) return ok.error();
  if (auto ok = check_places(h); !ok) return ok.error();

  RingView view;
  view.header_ = static_cast<const ebpf_ring_header*>(base);
  view.lanes_ = static_cast<const uint8_t*>(base) + h.lanes_offset;
  view.blocks_ = static_cast<const uint8_t*>(base) + h.blocks_offset;
  view.epoch_ = h.epoch;
  view.lane_bytes_ = h.lane_bytes;
  view.block_bytes_ = h.block_bytes;
  view.segment_bytes_ = h.block_bytes - static_cast<uint32_t>(sizeof(ebpf_block_header));
  view.lane_count_ = h.lane_count;
  view.window_segments_ = h.window_segments;
  view.dir_entries_ = h.dir_entries;
  view.block_count_ = h.block_count;
  view.cap_bytes_ = h.cap_bytes;
  return view;
}

bool RingView::ended() const { return shm_load_acquire_u32(&header_->state) == EBPF_RING_ENDED; }

}  // namespace ebpf

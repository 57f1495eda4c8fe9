// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_writer.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <vector>

#include "producer/consumer_slots.h"
#include "producer/lane_protocol.h"
#include "producer/ring_geometry.h"
#include "producer/ring_memory.h"
#include "producer/shm_atomics.h"
#include "producer/stream_copy.h"

namespace ebpf {
namespace {

constexpr uint64_t kLanesOffset = 4096;
// A lane streams after a burst of at least so many bytes. Below, the fence that a burst needs
// costs more than streaming saves, and a reader that waits for this very record gets it sooner
// from a cache.
constexpr uint32_t kStreamBurstBytes = 2048;
constexpr int kLookTries = 16;

uint64_t wall_us() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// The ring in shared memory, as lane_protocol.h wants to see it.
class ShmRing {
 public:
  using Atomics = ShmAtomics;

  ShmRing(uint8_t* base, const RingGeometry& plan, const ConsumerSlots& slots)
      : base_(base),
        slots_(&slots),
        blocks_offset_(plan.blocks_offset),
        lane_bytes_(plan.lane_bytes),
        block_bytes_(plan.block_bytes),
        dir_mask_(plan.dir_entries - 1) {}

  ebpf_lane_header* lane(uint32_t index) const {
    return reinterpret_cast<ebpf_lane_header*>(base_ + kLanesOffset + index * lane_bytes_);
  }
  ebpf_block_header* block(uint32_t index) const {
    return reinterpret_cast<ebpf_block_header*>(base_ + blocks_offset_ +
                                                uint64_t{index} * block_bytes_);
  }
  uint8_t* records(uint32_t index) const { return reinterpret_cast<uint8_t*>(block(index) + 1); }

  uint64_t* generation(uint32_t index) const { return &block(index)->generation; }
  uint64_t* first_seq(uint32_t index) const { return &block(index)->first_seq; }
  uint64_t* committed(uint32_t index) const { return &block(index)->committed; }
  uint64_t* head(uint32_t index) const { return &lane(index)->head; }
  uint64_t* published_seq(uint32_t index) const { return &lane(index)->published_seq; }
  uint32_t* dir(uint32_t index, uint64_t segment) const {
    return reinterpret_cast<uint32_t*>(lane(index) + 1) + (segment & dir_mask_);
  }
  template <class Visit>
  void each_pin(Visit&& visit) const {
    slots_->each_pin(visit);
  }

 private:
  uint8_t* base_;
  const ConsumerSlots* slots_;
  uint64_t blocks_offset_;
  uint64_t lane_bytes_;
  uint64_t block_bytes_;
  uint64_t dir_mask_;
};

Error differs(const char* what, uint64_t ring, uint64_t slots) {
  return {EINVAL, std::string("ring and consumer slots disagree: ") + what + " is " +
                      std::to_string(ring) + " for the one, " + std::to_string(slots) +
                      " for the other"};
}

// The size of the pool rests on these being the same.
Result<> check_slots(const RingOptions& options, const ConsumerSlots& slots) {
  if (options.max_consumers != slots.max_consumers()) {
    return differs("max_consumers", options.max_consumers, slots.max_consumers());
  }
  if (options.lane_count != slots.lane_count()) {
    return differs("lane_count", options.lane_count, slots.lane_count());
  }
  if (options.epoch != 0 && options.epoch != slots.epoch()) {
    return differs("epoch", options.epoch, slots.epoch());
  }
  return Unit{};
}

void fill_header(ebpf_ring_header* header, const RingOptions& options, const RingGeometry& plan,
                 uint64_t epoch) {
  header->magic = EBPF_RING_MAGIC;
  header->layout_version = EBPF_RING_LAYOUT_VERSION;
  header->header_bytes = sizeof(ebpf_ring_header);
  header->epoch = epoch;
  header->total_bytes = plan.total_bytes;
  header->lane_count = options.lane_count;
  header->max_consumers = options.max_consumers;
  header->window_segments = plan.window_segments;
  header->dir_entries = plan.dir_entries;
  header->block_count = plan.block_count;
  header->block_bytes = plan.block_bytes;
  header->lanes_offset = kLanesOffset;
  header->lane_bytes = plan.lane_bytes;
  header->blocks_offset = plan.blocks_offset;
  header->cap_bytes = options.cap_bytes;
  header->producer_pid = static_cast<uint32_t>(getpid());
  header->created_us = wall_us();
  shm_store_release_u32(&header->state, EBPF_RING_RUNNING);
}

// Counters of the writing thread that others may read: no read-modify-write needed.
void add_one(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

class RingWriter::Impl {
 public:
  Impl(RingMemory memory, UniqueFd read_only, bool write_sealed, const RingOptions& options,
       const RingGeometry& plan, const ConsumerSlots& slots)
      : memory_(std::move(memory)),
        read_only_(std::move(read_only)),
        write_sealed_(write_sealed),
        plan_(plan),
        ring_(memory_.base(), plan, slots),
        protocol_(ring_, options.lane_count, plan.window_segments, plan.block_count,
                  options.initial_seq),
        counters_(options.lane_count) {
    fill_header(header(), options, plan, slots.epoch());
    for (uint32_t lane = 0; lane < options.lane_count; ++lane) {
      ring_.lane(lane)->initial_seq = options.initial_seq;
      ring_.lane(lane)->published_seq = options.initial_seq;
      protocol_.roll(lane);
    }
  }

  ebpf_record* reserve(uint32_t lane, uint32_t cap_len) {
    if (cap_len > header()->cap_bytes) {
      add_one(counters_[lane].lost);
      return nullptr;
    }
    const uint32_t bytes = ebpf_record_bytes(cap_len);
    auto* record = reinterpret_cast<ebpf_record*>(room_for(lane, bytes));
    // Up to 7 bytes behind the payload. Nothing else here needs clearing: the caller writes
    // all the rest.
    const uint32_t end = static_cast<uint32_t>(sizeof(ebpf_record)) + cap_len;
    std::memset(reinterpret_cast<uint8_t*>(record) + end, 0, bytes - end);
    record->length_bytes = bytes;
    record->kind = EBPF_RECORD_DATA;
    record->reserved = 0;
    record->seq = protocol_.lane(lane).next_seq;
    counters_[lane].reserved = record;
    counters_[lane].reserved_cap_len = cap_len;
    return record;
  }

  void commit(uint32_t index) {
    Counters& counters = counters_[index];
    assert(counters.reserved != nullptr);
    ebpf_record* record = counters.reserved;
    counters.reserved = nullptr;
    // What a reader relies on does not depend on the caller's copy having it right.
    record->data.cap_len = counters.reserved_cap_len;
    record->data.cap_data = nullptr;
    auto& lane = protocol_.lane(index);
    add_to(lane, counters, record->length_bytes);
  }

  const ebpf_record* append(uint32_t index, const SK_BPF_DATA& data, const void* payload) {
    Counters& counters = counters_[index];
    const uint32_t cap_len = data.cap_len;
    if (cap_len > header()->cap_bytes) {
      add_one(counters.lost);
      return nullptr;
    }
    const uint32_t bytes = ebpf_record_bytes(cap_len);
    uint8_t* place = room_for(index, bytes);
    auto& lane = protocol_.lane(index);
    const auto* from = static_cast<const uint8_t*>(payload);
    if (counters.streams) {
      ebpf_record head;
      fill_head(head, bytes, lane.next_seq, data);
      stream_copy(place, reinterpret_cast<const uint8_t*>(&head), sizeof(head));
      stream_copy(place + sizeof(head), from, cap_len);
    } else {
      fill_head(*reinterpret_cast<ebpf_record*>(place), bytes, lane.next_seq, data);
      plain_copy(place + sizeof(ebpf_record), from, cap_len);
    }
    add_to(lane, counters, bytes);
    return reinterpret_cast<const ebpf_record*>(place);
  }

  void abandon(uint32_t lane) { counters_[lane].reserved = nullptr; }

  void append_gap(uint32_t index, uint32_t cause, uint64_t count, uint64_t timestamp_us) {
    auto* gap = reinterpret_cast<ebpf_gap*>(room_for(index, sizeof(ebpf_gap)));
    auto& lane = protocol_.lane(index);
    *gap = {sizeof(ebpf_gap), EBPF_RECORD_GAP, 0, lane.next_seq, count, timestamp_us, cause, 0};
    lane.bytes += sizeof(ebpf_gap);
    add_one(counters_[index].gaps);
  }

  void publish(uint32_t index) {
    Counters& counters = counters_[index];
    if (counters.streams) stream_fence();
    protocol_.publish(index);
    if (counters.burst_bytes > 0) counters.streams = counters.burst_bytes >= kStreamBurstBytes;
    counters.burst_bytes = 0;
  }

  void end() {
    for (uint32_t lane = 0; lane < header()->lane_count; ++lane) publish(lane);
    shm_store_release_u32(&header()->state, EBPF_RING_ENDED);
  }

  uint64_t published(uint32_t lane) const {
    return shm_load_relaxed_u64(ring_.published_seq(lane)) - ring_.lane(lane)->initial_seq;
  }
  uint64_t lost(uint32_t lane) const {
    return counters_[lane].lost.load(std::memory_order_relaxed);
  }
  uint64_t gaps(uint32_t lane) const {
    return counters_[lane].gaps.load(std::memory_order_relaxed);
  }
  // Both read words that the writing thread may be changing: a roll in between gives the value of
  // just before or just after, or, where a block is taken into use again, another try.
  uint64_t oldest_record(uint32_t lane) const {
    const uint64_t published_now = published(lane);
    for (int tries = 0; tries < kLookTries; ++tries) {
      const uint64_t head = shm_load_acquire_u64(ring_.head(lane));
      const uint64_t window = plan_.window_segments;
      const uint64_t oldest = head > window ? head - window : 0;
      const uint32_t block = shm_load_acquire_u32(ring_.dir(lane, oldest));
      const uint64_t first = shm_load_acquire_u64(ring_.first_seq(block));
      if (shm_load_acquire_u64(ring_.generation(block)) != ebpf_generation(lane, oldest)) continue;
      return std::min(first - ring_.lane(lane)->initial_seq, published_now);
    }
    return published_now;
  }
  uint64_t written_bytes(uint32_t lane) const {
    for (int tries = 0; tries < kLookTries; ++tries) {
      const uint64_t head = shm_load_acquire_u64(ring_.head(lane));
      const uint32_t block = shm_load_acquire_u32(ring_.dir(lane, head - 1));
      const uint64_t committed = shm_load_acquire_u64(ring_.committed(block));
      if (shm_load_acquire_u64(ring_.head(lane)) != head) continue;
      return (head - 1) * plan_.room() + ebpf_committed_bytes(committed);
    }
    return (shm_load_acquire_u64(ring_.head(lane)) - 1) * plan_.room();
  }
  uint32_t parked() const { return parked_.load(std::memory_order_relaxed); }

  ebpf_ring_header* header() const { return reinterpret_cast<ebpf_ring_header*>(memory_.base()); }
  uint64_t initial_seq() const { return ring_.lane(0)->initial_seq; }
  const RingGeometry& plan() const { return plan_; }
  int read_only_fd() const { return read_only_.get(); }
  bool write_sealed() const { return write_sealed_; }
  uint32_t pages() const { return memory_.pages(); }

 private:
  // What one lane's writer keeps besides the protocol's own state.
  struct Counters {
    ebpf_record* reserved = nullptr;
    uint32_t reserved_cap_len = 0;
    uint64_t burst_bytes = 0;  // in data records, since the last publish()
    bool streams = false;      // append() copies past the caches
    std::atomic<uint64_t> lost{0};
    std::atomic<uint64_t> gaps{0};
  };

  static void fill_head(ebpf_record& head, uint32_t bytes, uint64_t seq, const SK_BPF_DATA& data) {
    head.length_bytes = bytes;
    head.kind = EBPF_RECORD_DATA;
    head.reserved = 0;
    head.seq = seq;
    head.data = data;
    head.data.cap_data = nullptr;
  }

  // One more data record is in the open segment.
  template <class Lane>
  static void add_to(Lane& lane, Counters& counters, uint32_t bytes) {
    lane.bytes += bytes;
    lane.records += 1;
    lane.next_seq += 1;
    counters.burst_bytes += bytes;
  }

  // Where the next record of the lane goes; in a new segment if it does not fit.
  uint8_t* room_for(uint32_t index, uint32_t bytes) {
    assert(counters_[index].reserved == nullptr);
    auto& lane = protocol_.lane(index);
    if (bytes > plan_.room() - lane.bytes) {
      if (counters_[index].streams) stream_fence();  // it publishes what the old one holds
      protocol_.roll(index);
      parked_.store(static_cast<uint32_t>(protocol_.pool().parked()), std::memory_order_relaxed);
    }
    return ring_.records(lane.block) + lane.bytes;
  }

  RingMemory memory_;
  UniqueFd read_only_;
  bool write_sealed_;
  RingGeometry plan_;
  ShmRing ring_;
  LaneProtocol<ShmRing> protocol_;
  std::vector<Counters> counters_;
  std::atomic<uint32_t> parked_{0};
};

Result<std::unique_ptr<RingWriter>> RingWriter::create(const RingOptions& options,
                                                       ConsumerSlots& slots) {
  auto plan = plan_ring(options);
  if (!plan) return plan.error();
  if (auto checked = check_slots(options, slots); !checked) return checked.error();

  auto memory = RingMemory::create("libebpf-ring", plan->total_bytes, 0400, options.memory);
  if (!memory) return memory.error();
  plan->total_bytes = memory->bytes();  // whole huge pages
  // The blocks that are in use all the time. Those for parked segments come into being
  // when pins make them necessary.
  const uint64_t in_use =
      plan->blocks_offset +
      (uint64_t{options.lane_count} * plan->window_segments) * plan->block_bytes;
  if (auto reserved = memory->reserve(in_use); !reserved) return reserved.error();
  auto read_only = memory->open_read_only();
  if (!read_only) return read_only.error();
  auto sealed = memory->seal(options.future_write_seal);
  if (!sealed) return sealed.error();
  memory->take_fd();  // nothing needs write access but the mapping

  try {
    auto impl = std::make_unique<Impl>(std::move(*memory), std::move(*read_only), *sealed, options,
                                       *plan, slots);
    return std::unique_ptr<RingWriter>(new RingWriter(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return errno_error("cannot keep track of " + std::to_string(plan->block_count) + " blocks",
                       ENOMEM);
  }
}

RingWriter::RingWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RingWriter::~RingWriter() = default;

ebpf_record* RingWriter::reserve(uint32_t lane, uint32_t cap_len) {
  return impl_->reserve(lane, cap_len);
}
void RingWriter::commit(uint32_t lane) { impl_->commit(lane); }
void RingWriter::abandon(uint32_t lane) { impl_->abandon(lane); }
const ebpf_record* RingWriter::append(uint32_t lane, const SK_BPF_DATA& data, const void* payload) {
  return impl_->append(lane, data, payload);
}
void RingWriter::append_gap(uint32_t lane, uint32_t cause, uint64_t count, uint64_t timestamp_us) {
  impl_->append_gap(lane, cause, count, timestamp_us);
}
void RingWriter::publish(uint32_t lane) { impl_->publish(lane); }
void RingWriter::publish_all() {
  for (uint32_t lane = 0; lane < header().lane_count; ++lane) impl_->publish(lane);
}
void RingWriter::end() { impl_->end(); }

uint64_t RingWriter::published(uint32_t lane) const { return impl_->published(lane); }
uint64_t RingWriter::lost(uint32_t lane) const { return impl_->lost(lane); }
uint64_t RingWriter::gaps(uint32_t lane) const { return impl_->gaps(lane); }
uint32_t RingWriter::parked_blocks() const { return impl_->parked(); }
uint64_t RingWriter::oldest_record(uint32_t lane) const { return impl_->oldest_record(lane); }
uint64_t RingWriter::written_bytes(uint32_t lane) const { return impl_->written_bytes(lane); }

const ebpf_ring_header& RingWriter::header() const { return *impl_->header(); }
uint64_t RingWriter::initial_seq() const { return impl_->initial_seq(); }
uint32_t RingWriter::segment_bytes() const { return impl_->plan().block_bytes; }
uint64_t RingWriter::lane_capacity() const {
  return uint64_t{impl_->plan().window_segments - 1} * impl_->plan().records_per_segment;
}
int RingWriter::read_only_fd() const { return impl_->read_only_fd(); }
uint32_t RingWriter::pages() const { return impl_->pages(); }
bool RingWriter::write_sealed() const { return impl_->write_sealed(); }

}  // namespace ebpf

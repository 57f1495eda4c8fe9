// SPDX-License-Identifier: Apache-2.0
// What the ring's tests share: a writer with its slots, and a reader that walks the mapping
// without any protocol, as a debugger would.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <vector>

#include "libebpf/shm_atomic.h"
#include "producer/consumer_slots.h"
#include "producer/ring_writer.h"

namespace ebpf {

inline size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

// A mapping of somebody's memfd, as a consumer has it.
template <class T>
class Mapping {
 public:
  Mapping(int fd, size_t bytes, int protection) : bytes_(bytes) {
    at_ = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
    EXPECT_NE(at_, MAP_FAILED) << std::strerror(errno);
  }
  ~Mapping() {
    if (at_ != MAP_FAILED) munmap(at_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  T* operator->() const { return static_cast<T*>(at_); }
  T* get() const { return static_cast<T*>(at_); }

 private:
  void* at_;
  size_t bytes_;
};

struct ControlPage : Mapping<ebpf_control_page> {
  explicit ControlPage(int fd) : Mapping(fd, EBPF_CONTROL_BYTES, PROT_READ | PROT_WRITE) {}
};

struct Ring {
  explicit Ring(const RingOptions& options)
      : slots(options.max_consumers, options.lane_count, options.epoch) {
    auto created = RingWriter::create(options, slots);
    if (!created) {
      ADD_FAILURE() << created.error().message;
      return;
    }
    writer = std::move(*created);
  }

  // One data record of so many payload bytes, each of value `fill`; published if asked.
  void write(uint32_t lane, uint32_t cap_len, uint8_t fill, bool publish = true) {
    ebpf_record* record = writer->reserve(lane, cap_len);
    ASSERT_NE(record, nullptr);
    record->data = SK_BPF_DATA{};
    record->data.cap_seq = record->seq;
    record->data.cap_len = cap_len;
    std::memset(record + 1, fill, cap_len);
    writer->commit(lane);
    if (publish) writer->publish(lane);
  }

  ConsumerSlots slots;
  std::unique_ptr<RingWriter> writer;
};

// Reads what the ring holds at the moment. Only while nobody writes.
class Walker {
 public:
  explicit Walker(const RingWriter& writer)
      : ring_(writer.read_only_fd(), writer.header().total_bytes, PROT_READ) {}

  const ebpf_ring_header& header() const { return *ring_.get(); }
  const ebpf_lane_header* lane(uint32_t index) const {
    return at<ebpf_lane_header>(header().lanes_offset + index * header().lane_bytes);
  }
  const ebpf_block_header* block(uint32_t index) const {
    return at<ebpf_block_header>(header().blocks_offset + uint64_t{index} * header().block_bytes);
  }
  const ebpf_block_header* segment(uint32_t lane_index, uint64_t n) const {
    const auto* dir = reinterpret_cast<const uint32_t*>(lane(lane_index) + 1);
    return block(dir[n % header().dir_entries]);
  }
  uint64_t oldest_segment(uint32_t lane_index) const {
    const uint64_t head = lane(lane_index)->head;
    return head > header().window_segments ? head - header().window_segments : 0;
  }

  // Every published record of a segment.
  static std::vector<const ebpf_record*> records_of(const ebpf_block_header* block) {
    std::vector<const ebpf_record*> records;
    const auto* bytes = reinterpret_cast<const uint8_t*>(block + 1);
    const uint32_t end = ebpf_committed_bytes(shm_load_acquire_u64(&block->committed));
    for (uint32_t at = 0; at < end;) {
      records.push_back(reinterpret_cast<const ebpf_record*>(bytes + at));
      EXPECT_GE(records.back()->length_bytes, EBPF_RECORD_HEAD_BYTES);
      at += records.back()->length_bytes;
      EXPECT_LE(at, end);
    }
    return records;
  }

  // Every published record of a lane's window, oldest first.
  std::vector<const ebpf_record*> records(uint32_t lane_index) const {
    std::vector<const ebpf_record*> all;
    for (uint64_t n = oldest_segment(lane_index); n < lane(lane_index)->head; ++n) {
      const ebpf_block_header* block = segment(lane_index, n);
      EXPECT_EQ(block->generation, ebpf_generation(lane_index, n));
      const auto part = records_of(block);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

 private:
  template <class T>
  const T* at(uint64_t offset) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const uint8_t*>(ring_.get()) + offset);
  }

  Mapping<const ebpf_ring_header> ring_;
};

}  // namespace ebpf

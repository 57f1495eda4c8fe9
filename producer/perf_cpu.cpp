// SPDX-License-Identifier: Apache-2.0
#include "producer/perf_cpu.h"

#include <algorithm>
#include <cstring>

namespace ebpf {

void EventView::copy(void* to, uint32_t at, uint32_t count) const {
  auto* out = static_cast<uint8_t*>(to);
  if (at < first_bytes) {
    const uint32_t part = std::min(count, first_bytes - at);
    std::memcpy(out, first + at, part);
    out += part;
    at += part;
    count -= part;
  }
  if (count != 0) std::memcpy(out, second + (at - first_bytes), count);
}

const uint8_t* EventView::in_place(uint32_t at, uint32_t count) const {
  if (at >= first_bytes) return second + (at - first_bytes);
  return count <= first_bytes - at ? first + at : nullptr;
}

PerfCpu::PerfCpu(int cpu, perf_event_mmap_page* meta, size_t page_bytes, size_t data_bytes)
    : cpu_(cpu),
      meta_(meta),
      data_(reinterpret_cast<const uint8_t*>(meta) + page_bytes),
      data_bytes_(data_bytes),
      head_(meta->data_tail),
      tail_(meta->data_tail) {}

void PerfCpu::snapshot() {
  head_ = __atomic_load_n(&meta_->data_head, __ATOMIC_ACQUIRE);
  // More than the buffer holds, or a head that went back: only a broken mapping shows that.
  if (head_ - tail_ > data_bytes_) {
    bad_records_++;
    tail_ = head_;
  }
}

uint64_t PerfCpu::unread_bytes() const {
  return __atomic_load_n(&meta_->data_head, __ATOMIC_ACQUIRE) - tail_;
}

bool PerfCpu::peek(EventView* event) {
  while (tail_ != head_) {
    // Records start on 8-byte boundaries and the buffer's size is a multiple of 8, so a
    // header never wraps.
    const uint64_t left = head_ - tail_;
    perf_event_header header;
    if (left < sizeof(header)) break;
    const size_t at = tail_ & (data_bytes_ - 1);
    std::memcpy(&header, data_ + at, sizeof(header));
    if (header.size < sizeof(header) || header.size > left || header.size % 8 != 0) break;
    if (header.type != PERF_RECORD_SAMPLE) {
      tail_ += header.size;
      continue;
    }
    // PERF_SAMPLE_RAW alone: u32 size, then so many bytes.
    uint32_t size;
    if (header.size < sizeof(header) + sizeof(size)) break;
    std::memcpy(&size, data_ + ((at + sizeof(header)) & (data_bytes_ - 1)), sizeof(size));
    if (size > header.size - sizeof(header) - sizeof(size)) break;

    const size_t start = (at + sizeof(header) + sizeof(size)) & (data_bytes_ - 1);
    event->first = data_ + start;
    event->first_bytes = static_cast<uint32_t>(std::min<size_t>(size, data_bytes_ - start));
    event->second = data_;
    event->second_bytes = size - event->first_bytes;
    current_ = header.size;
    return true;
  }
  if (tail_ != head_) {
    bad_records_++;
    tail_ = head_;
  }
  return false;
}

void PerfCpu::pop() { tail_ += current_; }

void PerfCpu::release() { __atomic_store_n(&meta_->data_tail, tail_, __ATOMIC_RELEASE); }

}  // namespace ebpf

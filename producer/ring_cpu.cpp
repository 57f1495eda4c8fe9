// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_cpu.h"

#include <linux/bpf.h>

namespace ebpf {
namespace {

// A record: its length with two flags, 4 bytes for the kernel, then the bytes, up to a
// multiple of 8.
constexpr uint32_t kFlags = BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT;

}  // namespace

RingCpu::RingCpu(int cpu, uint64_t* consumer_at, const uint64_t* producer_at, const uint8_t* data,
                 size_t data_bytes)
    : cpu_(cpu),
      consumer_at_(consumer_at),
      producer_at_(producer_at),
      data_(data),
      data_bytes_(data_bytes),
      head_(*consumer_at),
      tail_(*consumer_at) {}

void RingCpu::snapshot() {
  head_ = __atomic_load_n(producer_at_, __ATOMIC_ACQUIRE);
  if (head_ - tail_ > data_bytes_) {
    bad_records_++;
    tail_ = head_;
  }
}

uint64_t RingCpu::unread_bytes() const {
  return __atomic_load_n(producer_at_, __ATOMIC_ACQUIRE) - tail_;
}

bool RingCpu::peek(EventView* event) {
  while (tail_ != head_) {
    const uint64_t left = head_ - tail_;
    const uint8_t* record = data_ + (tail_ & (data_bytes_ - 1));
    // Positions are multiples of 8, so the length is aligned. It is written last.
    const uint32_t length =
        __atomic_load_n(reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
    if (length & BPF_RINGBUF_BUSY_BIT) return false;
    const uint64_t size = length & ~kFlags;
    const uint64_t total = (size + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
    if (total > left) {
      bad_records_++;
      tail_ = head_;
      return false;
    }
    if (length & BPF_RINGBUF_DISCARD_BIT) {
      tail_ += total;
      continue;
    }
    *event = {record + BPF_RINGBUF_HDR_SZ, static_cast<uint32_t>(size), data_, 0};
    current_ = total;
    return true;
  }
  return false;
}

void RingCpu::release() { __atomic_store_n(consumer_at_, tail_, __ATOMIC_RELEASE); }

}  // namespace ebpf

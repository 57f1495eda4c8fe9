// SPDX-License-Identifier: Apache-2.0
// One CPU's BPF ring buffer: walks the mapped pages directly, record by record, without
// copying. Format: struct bpf_ringbuf and bpf_ringbuf_hdr of the kernel (5.8 and later).
#pragma once

#include <cstddef>
#include <cstdint>

#include "producer/perf_cpu.h"

namespace ebpf {

// The functions do what those of PerfCpu do.
class RingCpu {
 public:
  // `consumer_at` is where user space says how far it has read; `producer_at` how far the kernel
  // has written. `data` holds data_bytes (a power of two) and the same bytes once more, so that
  // no record wraps.
  RingCpu(int cpu, uint64_t* consumer_at, const uint64_t* producer_at, const uint8_t* data,
          size_t data_bytes);

  int cpu() const { return cpu_; }

  void snapshot();
  uint64_t unread_bytes() const;
  size_t data_bytes() const { return data_bytes_; }
  // Also stops at a record that a program on that CPU is still writing.
  bool peek(EventView* event);
  void pop() { tail_ += current_; }
  void release();

  uint64_t bad_records() const { return bad_records_; }

 private:
  int cpu_;
  uint64_t* consumer_at_;
  const uint64_t* producer_at_;
  const uint8_t* data_;
  size_t data_bytes_;
  uint64_t head_ = 0;     // end of the snapshot
  uint64_t tail_ = 0;     // next record to look at
  uint64_t current_ = 0;  // bytes of the record that peek() showed
  uint64_t bad_records_ = 0;
};

}  // namespace ebpf

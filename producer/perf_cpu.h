// SPDX-License-Identifier: Apache-2.0
// One CPU's perf buffer: walks the mmap pages of the kernel directly, record by record,
// without copying. Format: perf_event_open(2), "MMAP layout".
#pragma once

#include <linux/perf_event.h>

#include <cstddef>
#include <cstdint>

namespace ebpf {

// The bytes of one event, in the buffer. They may wrap around its end: two parts.
// Valid until release().
struct EventView {
  const uint8_t* first = nullptr;
  uint32_t first_bytes = 0;
  const uint8_t* second = nullptr;  // start of the buffer, where the event wraps
  uint32_t second_bytes = 0;

  uint32_t size() const { return first_bytes + second_bytes; }
  // Copies bytes [at, at + count) to `to`; the caller has checked them against size().
  void copy(void* to, uint32_t at, uint32_t count) const;
  // The same bytes where they are; nullptr where they wrap.
  const uint8_t* in_place(uint32_t at, uint32_t count) const;
};

class PerfCpu {
 public:
  // `meta` is the mapping: one page of perf_event_mmap_page, then data_bytes (a power of two).
  PerfCpu(int cpu, perf_event_mmap_page* meta, size_t page_bytes, size_t data_bytes);

  int cpu() const { return cpu_; }

  // Takes in what the kernel has written so far: loads data_head (acquire).
  void snapshot();
  // Bytes that were not popped, now.
  uint64_t unread_bytes() const;
  size_t data_bytes() const { return data_bytes_; }
  // The next sample within the snapshot, skipping other records; false: none left.
  // A record that cannot be valid ends the snapshot and counts in bad_records().
  bool peek(EventView* event);
  // Steps over the sample that peek() showed.
  void pop();
  // Gives everything that was popped back to the kernel: stores data_tail (release).
  void release();

  uint64_t bad_records() const { return bad_records_; }

 private:
  int cpu_;
  perf_event_mmap_page* meta_;
  const uint8_t* data_;
  size_t data_bytes_;
  uint64_t head_ = 0;     // end of the snapshot
  uint64_t tail_ = 0;     // next record to look at
  uint32_t current_ = 0;  // bytes of the record that peek() showed
  uint64_t bad_records_ = 0;
};

}  // namespace ebpf

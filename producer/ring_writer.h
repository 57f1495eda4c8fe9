// SPDX-License-Identifier: Apache-2.0
// The writing end of the ring: creates the data memory and appends records to its lanes.
// The protocol is the one of include/libebpf/ring_layout.h; nothing here waits.
#pragma once

#include <cstdint>
#include <memory>

#include "libebpf/detail/result.h"
#include "libebpf/ring_layout.h"
#include "producer/ring_placement.h"

namespace ebpf {

class ConsumerSlots;

struct RingOptions {
  uint32_t lane_count = 1;
  uint32_t ring_records = 65536;  // full-size records that the window holds at least, all lanes
  uint32_t cap_bytes = EBPF_CAP_BYTES_DEFAULT;
  uint32_t max_consumers = EBPF_CONSUMERS_DEFAULT;
  uint32_t segment_bytes = 0;  // 0: chosen (256 KiB, smaller for small rings)
  uint64_t epoch = 0;          // 0: that of the consumer slots
  uint64_t initial_seq = 0;
  bool future_write_seal = true;  // false: as on kernels before 5.1 (tests)
  MemoryOptions memory;
};

class RingWriter {
 public:
  // `slots` outlives the writer, and was made for the same lanes, consumers and epoch.
  static Result<std::unique_ptr<RingWriter>> create(const RingOptions& options,
                                                    ConsumerSlots& slots);
  ~RingWriter();

  // All of these: the writing thread only.
  //
  // Room for one data record with so many payload bytes, not yet visible to anyone; the
  // caller fills `data` and the payload behind it. Never waits. nullptr: the record is
  // larger than cap_bytes allows (counted in lost()). At most one reservation per lane
  // is open; commit() or abandon() ends it.
  ebpf_record* reserve(uint32_t lane, uint32_t cap_len);
  void commit(uint32_t lane);   // part of the next publish()
  void abandon(uint32_t lane);  // as if it had never been reserved
  // A whole record at once: `data` and data.cap_len bytes of payload, neither of them in the
  // ring. The faster way under load, see stream_copy.h. nullptr: as reserve().
  const ebpf_record* append(uint32_t lane, const SK_BPF_DATA& data, const void* payload);
  void append_gap(uint32_t lane, uint32_t cause, uint64_t count, uint64_t timestamp_us);
  void publish(uint32_t lane);  // makes everything committed visible: one release store
  void publish_all();
  void end();  // publishes, and marks the ring as ended

  // Readable from any thread (relaxed).
  uint64_t published(uint32_t lane) const;  // data records, since the start
  uint64_t lost(uint32_t lane) const;
  uint64_t gaps(uint32_t lane) const;
  uint32_t parked_blocks() const;
  // The first data record that the window still holds, as a count since the start.
  uint64_t oldest_record(uint32_t lane) const;
  uint64_t written_bytes(uint32_t lane) const;  // room taken up by now, segments' ends included

  // Constant.
  const ebpf_ring_header& header() const;
  uint64_t initial_seq() const;
  uint32_t segment_bytes() const;
  uint64_t lane_capacity() const;  // full-size records that a lane's window holds at least
  int read_only_fd() const;        // what consumers get; owned by the writer
  uint32_t pages() const;          // EBPF_PAGES_*
  bool write_sealed() const;       // false: the kernel lacks F_SEAL_FUTURE_WRITE, or not wanted

  class Impl;

 private:
  explicit RingWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebpf

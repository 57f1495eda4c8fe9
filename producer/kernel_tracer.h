// SPDX-License-Identifier: Apache-2.0
// The kernel side, seen from user space: loads the BPF programs, fills the offsets table,
// attaches, and gives access to every CPU's event buffer and to the counters.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bpf/kernel_abi.h"
#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "producer/cpu_buffer.h"
#include "producer/filters.h"
#include "producer/log.h"

namespace ebpf {

enum class AttachMode { kAuto, kRaw, kTracepoint, kDirect };
enum class OffsetsMode { kAuto, kBtf, kSearch };
enum class TransportMode { kAuto, kPerf, kRingBuffer };

struct TracerOptions {
  uint32_t perf_pages = 512;  // of each CPU's buffer, a power of two
  // Perf buffers are locked memory: where the kernel refuses that much, take less, down to this.
  uint32_t perf_pages_least = 128;
  uint32_t max_socket_entries = 524288;
  uint32_t max_trace_entries = 524288;
  uint32_t lane_count = 1;
  uint32_t cap_bytes = EBPF_CAP_BYTES_DEFAULT;
  bool capture_unknown = false;
  TracerFilters filters;
  AttachMode attach = AttachMode::kAuto;
  OffsetsMode offsets = OffsetsMode::kAuto;
  TransportMode transport = TransportMode::kAuto;
  uint32_t copies = 0;   // of the programs, see enum copy_role; 0: as many as this kernel needs
  std::string bpf_file;  // empty: the embedded object
  std::string btf_file;  // empty: /sys/kernel/btf/vmlinux
};

// Sums over the CPUs, indexed by enum kernel_counter.
using KernelCounters = std::array<uint64_t, COUNTER_COUNT>;

class KernelTracer {
 public:
  // Loads and adapts; the tracer is stopped afterwards (nothing is captured). The error
  // names the missing privilege or kernel feature; for a verifier refusal it holds the
  // program and the verifier's last lines.
  static Result<std::unique_ptr<KernelTracer>> open(const TracerOptions& options,
                                                    const LogSink& log);
  ~KernelTracer();

  Result<> start();  // idempotent
  Result<> stop();   // idempotent; what is in the buffers stays there

  // One per CPU; lives as long as the tracer. Only the drain thread touches them.
  std::vector<CpuBuffer>& cpus();
  // An epoll descriptor: readable when a buffer is past its watermark, or an event found the
  // drain asleep.
  int epoll_fd() const;
  // Whether an event can wake the drain wherever it finds it asleep.
  bool can_sleep() const;
  // Drain thread: the next event is to wake it, or not. An event that is being written at that
  // moment may do neither: look at the buffers then, and once more a little later.
  void set_asleep(bool asleep);

  KernelCounters counters() const;
  // Failed outputs since the start, by lane (lane_count values).
  std::vector<uint64_t> lost_by_lane() const;

  // Removes socket map entries until `target` are left or `budget` entries were looked
  // at; continues where the last call stopped. Returns how many were removed.
  uint32_t reclaim_sockets(uint32_t target, uint32_t budget);

  // Removes the entries of sockets that have ended without saying so, of up to
  // `budget` entries. Returns how many were removed.
  uint32_t forget_dead_sockets(uint32_t budget);

  uint32_t attach_kind() const;     // EBPF_ATTACH_*
  uint32_t offsets_source() const;  // EBPF_OFFSETS_*
  uint32_t transport() const;       // EBPF_TRANSPORT_*
  uint32_t perf_pages() const;      // of each CPU's buffer
  std::vector<ebpf_offset_entry> offsets() const;
  std::vector<ebpf_program_row> programs() const;
  std::vector<ebpf_map_row> maps() const;
  std::string bpf_file() const;  // "(embedded)" or the path

  class Impl;

 private:
  explicit KernelTracer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebpf

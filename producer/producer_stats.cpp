// SPDX-License-Identifier: Apache-2.0
// What the producer tells about itself over the control socket.
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>

#include "producer/producer.h"
#include "producer/wall_clock.h"

namespace ebpf {
namespace {

template <size_t N>
void set_text(char (&to)[N], const std::string& text) {
  std::snprintf(to, N, "%s", text.c_str());
}

template <size_t N>
void set_cut_text(char (&to)[N], const std::string& text) {
  set_text(to, text.size() < N ? text : text.substr(0, N - 4) + "...");
}

uint32_t entries_used(const KernelCounters& counters, kernel_counter inserted,
                      kernel_counter deleted) {
  // Two CPUs' counters are not read at one instant: never show a negative number.
  const uint64_t in = counters[inserted];
  const uint64_t out = counters[deleted];
  return in > out ? static_cast<uint32_t>(in - out) : 0;
}

}  // namespace

void Producer::fill_stats(ebpf_msg_stats* stats) const {
  utsname system{};
  uname(&system);
  set_text(stats->kernel_release, system.release);
  set_text(stats->bpf_file, source_);
  stats->epoch = writer_->header().epoch;
  stats->uptime_us = (monotonic_ns() - started_ns_) / 1000;
  stats->producer_pid = writer_->header().producer_pid;
  stats->is_adapt_success = adapted_ ? 1 : 0;
  stats->tracer_state = running_ ? TRACER_RUNNING : TRACER_STOP;
  stats->cap_bytes = options_.ring.cap_bytes;
  stats->socket_map_max_reclaim = options_.socket_map_max_reclaim;
  stats->max_consumers = options_.ring.max_consumers;
  stats->window_segments = writer_->header().window_segments;
  stats->segment_bytes = writer_->segment_bytes();
  const MemoryOptions& memory = options_.ring.memory;
  stats->ring_bytes = writer_->header().total_bytes;
  stats->ring_pages = writer_->pages();
  stats->ring_prefault = memory.prefault ? 1 : 0;
  stats->ring_numa_node =
      memory.numa_node >= 0 ? static_cast<uint32_t>(memory.numa_node) : EBPF_NUMA_ANY;
  stats->wakeups = slots_->wakeups();
  if (server_) stats->undelivered = server_->undelivered();
  if (replay_) stats->replayed = replay_->records();
  if (tracer_) fill_kernel_stats(stats);
  fill_lane_stats(stats);
}

void Producer::fill_kernel_stats(ebpf_msg_stats* stats) const {
  const KernelCounters counters = tracer_->counters();
  stats->attach = static_cast<uint8_t>(tracer_->attach_kind());
  stats->transport = tracer_->transport();
  stats->offsets_source = static_cast<uint8_t>(tracer_->offsets_source());
  stats->perf_pages_count = tracer_ ? tracer_->perf_pages() : options_.tracer.perf_pages;
  stats->cpu_count = static_cast<uint32_t>(tracer_->cpus().size());
  stats->kern_socket_map_max = options_.tracer.max_socket_entries;
  stats->kern_trace_map_max = options_.tracer.max_trace_entries;
  stats->kern_socket_map_used =
      entries_used(counters, COUNTER_SOCKET_INSERTED, COUNTER_SOCKET_DELETED);
  stats->kern_trace_map_used =
      entries_used(counters, COUNTER_TRACE_INSERTED, COUNTER_TRACE_DELETED);
  stats->kern_emitted = counters[COUNTER_EMITTED];
  stats->kern_lost = counters[COUNTER_LOST];
  stats->kern_socket_map_full = counters[COUNTER_SOCKET_MAP_FULL];
  stats->kern_trace_map_full = counters[COUNTER_TRACE_MAP_FULL];
  stats->kern_unknown = counters[COUNTER_UNKNOWN];
  stats->kern_bad_pointer = counters[COUNTER_BAD_POINTER];
  stats->kern_filtered_port = counters[COUNTER_FILTERED_PORT];
  stats->kern_filtered_pid = counters[COUNTER_FILTERED_PID];
  stats->kern_filtered_name = counters[COUNTER_FILTERED_NAME];
  stats->kern_skipped = counters[COUNTER_SKIPPED];
  stats->capture_unknown = options_.tracer.capture_unknown;
  stats->protocols = options_.tracer.filters.protocols;
  set_cut_text(stats->filters, describe(options_.tracer.filters));
  stats->bad_events = drain_->bad_events();
  for (const CpuBuffer& cpu : tracer_->cpus()) stats->bad_events += cpu.bad_records();
  stats->late_events = drain_->late_events();
}

void Producer::fill_lane_stats(ebpf_msg_stats* stats) const {
  const ebpf_ring_header& header = writer_->header();
  stats->lane_count = header.lane_count;
  for (uint32_t lane = 0; lane < header.lane_count; ++lane) {
    ebpf_lane_stats& row = stats->lanes[lane];
    row.enqueued = writer_->published(lane);
    row.dequeued = slots_->furthest(lane, options_.ring.initial_seq, row.enqueued);
    row.lost = writer_->lost(lane);
    row.bursts = publisher_->bursts(lane);
    row.gaps = writer_->gaps(lane);
    row.capacity = writer_->lane_capacity();
    stats->user_enqueue_count += row.enqueued;
    stats->user_dequeue_count += row.dequeued;
    stats->user_enqueue_lost += row.lost;
    stats->queue_burst_count += row.bursts;
  }
  for (uint32_t i = 0; i < EBPF_PROTOCOL_COUNT; ++i) stats->protocol[i] = publisher_->protocol(i);
}

void Producer::fill_offsets(ebpf_msg_offsets* offsets) const {
  if (!tracer_) return;
  const std::vector<ebpf_offset_entry> entries = tracer_->offsets();
  offsets->cpu_count = static_cast<uint32_t>(tracer_->cpus().size());
  offsets->entry_count =
      static_cast<uint32_t>(std::min<size_t>(entries.size(), EBPF_OFFSET_ENTRIES_MAX));
  std::copy_n(entries.begin(), offsets->entry_count, offsets->entries);
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// Filled control messages that the tests of ebpfctl share.
#pragma once

#include <cstdio>
#include <cstring>

#include "libebpf/control.h"

namespace ebpf::test {

inline ebpf_msg_header message_header(uint16_t type, uint32_t length_bytes) {
  return {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, type, length_bytes, 0};
}

// The numbers of the original's documented example.
inline ebpf_msg_stats sample_stats() {
  ebpf_msg_stats stats{};
  stats.header = message_header(EBPF_MSG_STATS, sizeof(stats));
  stats.epoch = 1700000000000001;
  stats.uptime_us = 12345678;
  stats.producer_pid = 4711;
  stats.is_adapt_success = 1;
  stats.tracer_state = TRACER_RUNNING;
  stats.attach = EBPF_ATTACH_RAW;
  stats.transport = EBPF_TRANSPORT_RINGBUF;
  stats.offsets_source = EBPF_OFFSETS_BTF;
  std::strcpy(stats.bpf_file, "/usr/share/socket_trace.elf");
  std::strcpy(stats.kernel_release, "4.15.15-1.el7.x86_64");
  stats.perf_pages_count = 128;
  stats.cpu_count = 2;
  stats.kern_socket_map_max = 524288;
  stats.kern_socket_map_used = 6;
  stats.kern_trace_map_max = 524288;
  stats.kern_trace_map_used = 7;
  stats.socket_map_max_reclaim = 520000;
  stats.cap_bytes = 512;
  stats.lane_count = 4;
  const uint64_t counts[4] = {9095, 9254, 9291, 9165};
  const uint64_t bursts[4] = {4, 3, 4, 0};
  for (int i = 0; i < 4; i++) {
    stats.lanes[i] = {counts[i], counts[i], 0, bursts[i], 0, 16383};
    stats.user_enqueue_count += counts[i];
    stats.user_dequeue_count += counts[i];
    stats.queue_burst_count += bursts[i];
  }
  stats.protocol[ebpf_protocol_index(SOCK_DATA_HTTP1)] = 11421;
  stats.protocol[ebpf_protocol_index(SOCK_DATA_DNS)] = 25274;
  stats.protocol[ebpf_protocol_index(SOCK_DATA_REDIS)] = 110;
  stats.max_consumers = 16;
  stats.consumer_count = 2;
  stats.window_segments = 8;
  stats.segment_bytes = 262144;
  return stats;
}

inline void add_offset(ebpf_msg_offsets& offsets, const char* name, uint32_t offset) {
  ebpf_offset_entry& entry = offsets.entries[offsets.entry_count++];
  std::snprintf(entry.name, sizeof(entry.name), "%s", name);
  entry.offset = offset;
  entry.source = EBPF_OFFSETS_BTF;
}

inline ebpf_msg_offsets sample_offsets() {
  ebpf_msg_offsets offsets{};
  offsets.header = message_header(EBPF_MSG_OFFSETS, sizeof(offsets));
  offsets.cpu_count = 2;
  add_offset(offsets, "task_struct.files", 0xb00);
  add_offset(offsets, "sock.sk_flags", 0x60);
  add_offset(offsets, "sock.sk_protocol", 0x1f0);
  add_offset(offsets, "tcp_sock.copied_seq", 0x514);
  add_offset(offsets, "tcp_sock.write_seq", 0x674);
  return offsets;
}

}  // namespace ebpf::test

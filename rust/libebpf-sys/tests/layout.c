/* SPDX-License-Identifier: Apache-2.0 */
/* Prints every size, offset and constant that the Rust bindings mirror; see layout.rs. */
#include <stdio.h>

#include "libebpf/consumer.h"

#define SIZE(type) printf(#type " %zu\n", sizeof(struct type));
#define FIELD(type, field) printf(#type "." #field " %zu\n", offsetof(struct type, field));
#define CONSTANT(name) printf(#name " %llu\n", (unsigned long long)(name));

static void print_sock_data(void) {
  SIZE(tuple_t)
  FIELD(tuple_t, raddr)
  FIELD(tuple_t, laddr)
  FIELD(tuple_t, addr_len)
  FIELD(tuple_t, protocol)
  FIELD(tuple_t, rport)
  FIELD(tuple_t, lport)
  SIZE(SK_BPF_DATA)
  FIELD(SK_BPF_DATA, process_id)
  FIELD(SK_BPF_DATA, thread_id)
  FIELD(SK_BPF_DATA, process_name)
  FIELD(SK_BPF_DATA, tuple)
  FIELD(SK_BPF_DATA, socket_id)
  FIELD(SK_BPF_DATA, l7_protocal_hint)
  FIELD(SK_BPF_DATA, msg_type)
  FIELD(SK_BPF_DATA, need_reconfirm)
  FIELD(SK_BPF_DATA, tcp_seq)
  FIELD(SK_BPF_DATA, syscall_trace_id_call)
  FIELD(SK_BPF_DATA, timestamp)
  FIELD(SK_BPF_DATA, direction)
  FIELD(SK_BPF_DATA, syscall_len)
  FIELD(SK_BPF_DATA, cap_len)
  FIELD(SK_BPF_DATA, cap_seq)
  FIELD(SK_BPF_DATA, cap_data)
}

static void print_records(void) {
  SIZE(ebpf_record)
  FIELD(ebpf_record, length_bytes)
  FIELD(ebpf_record, kind)
  FIELD(ebpf_record, reserved)
  FIELD(ebpf_record, seq)
  FIELD(ebpf_record, data)
  SIZE(ebpf_gap)
  FIELD(ebpf_gap, length_bytes)
  FIELD(ebpf_gap, kind)
  FIELD(ebpf_gap, reserved)
  FIELD(ebpf_gap, seq)
  FIELD(ebpf_gap, count)
  FIELD(ebpf_gap, timestamp_us)
  FIELD(ebpf_gap, cause)
  FIELD(ebpf_gap, reserved2)
}

static void print_consumer(void) {
  SIZE(ebpf_consumer_options)
  FIELD(ebpf_consumer_options, size)
  FIELD(ebpf_consumer_options, socket_path)
  FIELD(ebpf_consumer_options, lanes)
  FIELD(ebpf_consumer_options, from)
  FIELD(ebpf_consumer_options, flags)
  FIELD(ebpf_consumer_options, spin_us)
  FIELD(ebpf_consumer_options, reserved)
  FIELD(ebpf_consumer_options, name)
  FIELD(ebpf_consumer_options, on_record)
  FIELD(ebpf_consumer_options, on_gap)
  FIELD(ebpf_consumer_options, user)
  SIZE(ebpf_consumer_stats)
  FIELD(ebpf_consumer_stats, size)
  FIELD(ebpf_consumer_stats, epoch)
  FIELD(ebpf_consumer_stats, published)
  FIELD(ebpf_consumer_stats, delivered)
  FIELD(ebpf_consumer_stats, filtered)
  FIELD(ebpf_consumer_stats, lost)
  FIELD(ebpf_consumer_stats, unread)
  FIELD(ebpf_consumer_stats, upstream_lost)
  FIELD(ebpf_consumer_stats, gaps)
  FIELD(ebpf_consumer_stats, sleeps)
  FIELD(ebpf_consumer_stats, reattaches)
  FIELD(ebpf_consumer_stats, lane_count)
  FIELD(ebpf_consumer_stats, consumer_id)
}

static void print_constants(void) {
  CONSTANT(SOCK_DIR_SND)
  CONSTANT(SOCK_DIR_RCV)
  CONSTANT(SOCK_DATA_UNKNOWN)
  CONSTANT(SOCK_DATA_HTTP1)
  CONSTANT(SOCK_DATA_HTTP2)
  CONSTANT(SOCK_DATA_DUBBO)
  CONSTANT(SOCK_DATA_MYSQL)
  CONSTANT(SOCK_DATA_REDIS)
  CONSTANT(SOCK_DATA_KAFKA)
  CONSTANT(SOCK_DATA_DNS)
  CONSTANT(MSG_UNKNOWN)
  CONSTANT(MSG_REQUEST)
  CONSTANT(MSG_RESPONSE)
  CONSTANT(EBPF_COMM_BYTES)
  CONSTANT(EBPF_CAP_BYTES_MAX)
  CONSTANT(EBPF_LANES_MAX)
  CONSTANT(EBPF_RECORD_DATA)
  CONSTANT(EBPF_RECORD_GAP)
  CONSTANT(EBPF_GAP_LAPPED)
  CONSTANT(EBPF_GAP_PERF_FULL)
  CONSTANT(EBPF_GAP_NO_ROOM)
  CONSTANT(EBPF_GAP_RESTART)
  CONSTANT(EBPF_GAP_CORRUPT)
  CONSTANT(EBPF_FROM_TAIL)
  CONSTANT(EBPF_FROM_OLDEST)
  CONSTANT(EBPF_NO_REATTACH)
}

int main(void) {
  print_sock_data();
  print_records();
  print_consumer();
  print_constants();
  return 0;
}

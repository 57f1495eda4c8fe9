/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record: what one traced socket read or write looks like, from the kernel
 * side to the agent. Included by BPF programs, C, C++ and (mirrored with layout
 * tests) Rust; it must never include anything but freestanding C headers.
 *
 * The structs and constants carry the names of the original API, spelled so.
 */
#ifndef LIBEBPF_SOCK_DATA_H
#define LIBEBPF_SOCK_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define EBPF_STATIC_ASSERT static_assert
extern "C" {
#else
#define EBPF_STATIC_ASSERT _Static_assert
#endif

/* SK_BPF_DATA.direction */
#define SOCK_DIR_SND 0
#define SOCK_DIR_RCV 1

/* SK_BPF_DATA.l7_protocal_hint */
#define SOCK_DATA_UNKNOWN 0
#define SOCK_DATA_HTTP1 20
#define SOCK_DATA_HTTP2 21
#define SOCK_DATA_DUBBO 40
#define SOCK_DATA_MYSQL 60
#define SOCK_DATA_REDIS 80
#define SOCK_DATA_KAFKA 100
#define SOCK_DATA_DNS 120

/* SK_BPF_DATA.msg_type; 0 is "not known", e.g. the rest of a long body. */
#define MSG_UNKNOWN 0
#define MSG_REQUEST 1
#define MSG_RESPONSE 2

/* SK_TRACE_STATS.tracer_state, ebpf_msg_stats.tracer_state */
#define TRACER_INIT 0 /* not adapted to the kernel */
#define TRACER_STOP 1 /* ready, nothing is captured */
#define TRACER_RUNNING 2

/* Sizes. The capture limit is an option of the producer, within these bounds. */
#define EBPF_COMM_BYTES 16
#define EBPF_CAP_BYTES_DEFAULT 512
#define EBPF_CAP_BYTES_MAX 16384

/* The socket's five-tuple, seen from the traced process. */
struct tuple_t {
  uint8_t raddr[16]; /* remote address, network byte order; IPv4 fills the first 4 bytes */
  uint8_t laddr[16]; /* local address, same form */
  uint8_t addr_len;  /* 4: IPv4 (IPv4-mapped IPv6 included), 6: IPv6 */
  uint8_t protocol;  /* IPPROTO_TCP 6 or IPPROTO_UDP 17 */
  uint16_t rport;    /* remote port, host byte order; 0 where a UDP socket has no peer */
  uint16_t lport;    /* local port, host byte order */
};

/*
 * One socket read or write ("SockData"). Natural C alignment.
 *
 * In the ring the payload (cap_len bytes) follows the struct directly and
 * cap_data is 0: a pointer means nothing in another process. Only the original
 * callback API hands out a local copy whose cap_data points at the payload.
 */
struct SK_BPF_DATA {
  uint32_t process_id;                   /* tgid, in the initial pid namespace */
  uint32_t thread_id;                    /* tid, in the initial pid namespace */
  uint8_t process_name[EBPF_COMM_BYTES]; /* comm of the thread, NUL-terminated */
  struct tuple_t tuple;
  uint64_t socket_id;        /* names a socket (not a descriptor); unique, never reused, grows */
  uint16_t l7_protocal_hint; /* SOCK_DATA_* */
  uint8_t msg_type;          /* MSG_* */
  bool need_reconfirm;       /* true: the protocol is only likely */
  uint64_t tcp_seq;          /* TCP sequence number (32 bits) of the first payload byte; UDP: 0 */
  uint64_t syscall_trace_id_call; /* trace id; 0: the thread sent before it received anything */
  uint64_t timestamp;   /* microseconds since 1970-01-01 UTC, taken when the system call ended */
  uint8_t direction;    /* SOCK_DIR_* */
  uint64_t syscall_len; /* bytes that the system call moved */
  uint32_t cap_len;     /* bytes of payload captured: min(syscall_len, capture limit) */
  uint64_t cap_seq;     /* number of this record within its socket, from 0 */
  char* cap_data;       /* see above */
};

#define EBPF_PIN(type, field, at) \
  EBPF_STATIC_ASSERT(offsetof(struct type, field) == (at), #type "." #field)

EBPF_PIN(tuple_t, laddr, 16);
EBPF_PIN(tuple_t, addr_len, 32);
EBPF_PIN(tuple_t, protocol, 33);
EBPF_PIN(tuple_t, rport, 34);
EBPF_PIN(tuple_t, lport, 36);
EBPF_STATIC_ASSERT(sizeof(struct tuple_t) == 38, "tuple_t");

EBPF_PIN(SK_BPF_DATA, thread_id, 4);
EBPF_PIN(SK_BPF_DATA, process_name, 8);
EBPF_PIN(SK_BPF_DATA, tuple, 24);
EBPF_PIN(SK_BPF_DATA, socket_id, 64);
EBPF_PIN(SK_BPF_DATA, l7_protocal_hint, 72);
EBPF_PIN(SK_BPF_DATA, msg_type, 74);
EBPF_PIN(SK_BPF_DATA, need_reconfirm, 75);
EBPF_PIN(SK_BPF_DATA, tcp_seq, 80);
EBPF_PIN(SK_BPF_DATA, syscall_trace_id_call, 88);
EBPF_PIN(SK_BPF_DATA, timestamp, 96);
EBPF_PIN(SK_BPF_DATA, direction, 104);
EBPF_PIN(SK_BPF_DATA, syscall_len, 112);
EBPF_PIN(SK_BPF_DATA, cap_len, 120);
EBPF_PIN(SK_BPF_DATA, cap_seq, 128);
EBPF_PIN(SK_BPF_DATA, cap_data, 136);
EBPF_STATIC_ASSERT(sizeof(struct SK_BPF_DATA) == 144, "SK_BPF_DATA");

/*
 * The lane of a socket: all its records stay on it, in order.
 * lane_count is 1..EBPF_LANES_MAX; the result is below it.
 */
static inline uint32_t ebpf_lane_of(uint64_t socket_id, uint32_t lane_count) {
  return (uint32_t)((socket_id * 0x9E3779B97F4A7C15ull) >> 32) % lane_count;
}

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the maps hold. The programs write it; user space reads the socket map when it
 * removes idle entries. Must not include kernel or libc headers.
 */
#ifndef LIBEBPF_BPF_SOCKET_STATE_H
#define LIBEBPF_BPF_SOCKET_STATE_H

#include "bpf/infer_base.h"
#include "libebpf/sock_data.h"

/* Socket map: key is the address of the struct sock (u64). */
struct socket_entry {
  uint64_t socket_id;
  uint64_t inode; /* number of the socket's inode: tells a freed and reused address */
  uint64_t cap_seq;
  uint64_t last_use_ns;     /* CLOCK_MONOTONIC */
  struct infer_state state; /* what it speaks */
  uint8_t has_tuple;        /* TCP: the tuple never changes while bytes flow */
  uint8_t held_count;       /* bytes of a header that wait in the held map */
  uint8_t reserved[6];
  struct tuple_t tuple;
  uint8_t reserved2[2];
};
EBPF_STATIC_ASSERT(sizeof(struct socket_entry) == 96, "socket_entry");

/*
 * User space asks whether a sock has ended, by a query and a traced system call of its own,
 * which the programs answer instead of capturing it. The memory of a sock that was freed keeps
 * the flag until it becomes another one, or until it is no sock any more, which shows too.
 */
struct liveness_query {
  uint64_t sk; /* 0: none; the answer sets it to 0 */
  uint64_t is_dead;
};

/* Trace map: key is tgid << 32 | tid. */
struct trace_entry {
  uint64_t trace_id;
  uint64_t socket_id; /* of the thread's last record */
  uint8_t direction;  /* of the thread's last record */
  uint8_t reserved[7];
};
EBPF_STATIC_ASSERT(sizeof(struct trace_entry) == 24, "trace_entry");

#endif

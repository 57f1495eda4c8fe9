/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the BPF programs and the producer agree on: the event in the buffer, the
 * offsets table, the configuration and the counters. Included by both sides; it must
 * not include kernel or libc headers.
 */
#ifndef LIBEBPF_BPF_KERNEL_ABI_H
#define LIBEBPF_BPF_KERNEL_ABI_H

#include "libebpf/sock_data.h"

/*
 * One event, as the programs build it. The raw data of a perf record starts 4 bytes behind
 * an 8-byte boundary, so what is sent starts at `lost`, and `data` falls on a boundary in
 * both places. In a BPF ring buffer it is the same, but off by 4. data.cap_len payload bytes
 * follow. data.timestamp is CLOCK_MONOTONIC in nanoseconds here; the producer makes wall-clock
 * microseconds of it when it copies.
 */
struct kernel_event {
  uint32_t not_sent;
  uint32_t lost; /* outputs that failed on this CPU so far, modulo 2^32 */
  struct SK_BPF_DATA data;
};
#define KERNEL_EVENT_NOT_SENT 4u
EBPF_STATIC_ASSERT(sizeof(struct kernel_event) == 8 + sizeof(struct SK_BPF_DATA), "kernel_event");

/*
 * Where things stand in this kernel's structs, in bytes. One table for every program,
 * filled by user space before anything is attached, from BTF or by search.
 * Keep every member a uint32_t: user space walks it as an array (see offset_names).
 */
struct offsets_table {
  uint32_t task_files;          /* task_struct.files */
  uint32_t files_fdt;           /* files_struct.fdt */
  uint32_t fdt_max_fds;         /* fdtable.max_fds */
  uint32_t fdt_fd;              /* fdtable.fd */
  uint32_t file_inode;          /* file.f_inode */
  uint32_t file_private_data;   /* file.private_data */
  uint32_t inode_mode;          /* inode.i_mode */
  uint32_t inode_ino;           /* inode.i_ino */
  uint32_t socket_sk;           /* socket.sk */
  uint32_t sock_family;         /* sock.__sk_common.skc_family, u16 */
  uint32_t sock_state;          /* sock.__sk_common.skc_state, u8 */
  uint32_t sock_daddr;          /* sock.__sk_common.skc_daddr, be32 */
  uint32_t sock_rcv_saddr;      /* sock.__sk_common.skc_rcv_saddr, be32 */
  uint32_t sock_dport;          /* sock.__sk_common.skc_dport, be16 */
  uint32_t sock_num;            /* sock.__sk_common.skc_num, u16 in host order */
  uint32_t sock_v6_daddr;       /* sock.__sk_common.skc_v6_daddr, 16 bytes */
  uint32_t sock_v6_rcv_saddr;   /* sock.__sk_common.skc_v6_rcv_saddr, 16 bytes */
  uint32_t sock_flags;          /* sock.sk_flags, unsigned long; bit 1 is SOCK_DONE */
  uint32_t sock_protocol;       /* sock.sk_protocol: the byte (see sock_protocol_bytes) */
  uint32_t sock_protocol_bytes; /* 1: a bit field of 8 (before 5.6), 2: u16. Not an offset. */
  uint32_t sock_type;           /* sock.sk_type, u16 */
  uint32_t tcp_copied_seq;      /* tcp_sock.copied_seq, u32 */
  uint32_t tcp_write_seq;       /* tcp_sock.write_seq, u32 */
  uint32_t tcp_rcv_nxt;         /* tcp_sock.rcv_nxt, u32 */
};
#define OFFSETS_TABLE_ENTRIES (sizeof(struct offsets_table) / sizeof(uint32_t))

/* What the options say; one entry, index 0 of the config map. */
struct tracer_config {
  uint32_t enabled;         /* 0: stopped; programs return at once */
  uint32_t lane_count;      /* to count losses by lane */
  uint32_t cap_bytes;       /* capture limit in force */
  uint32_t capture_unknown; /* deliver what is none of the protocols, too */
  uint32_t producer_tgid;   /* never traced */
  uint32_t cpu_count;       /* possible CPUs: stride of the ids */
  uint64_t id_base;         /* first socket and trace id: µs since 1970 at start */
  uint32_t protocols;       /* bit PROTOCOL_BIT(): protocols that are recognised */
  uint32_t filters;         /* FILTER_*: which filter maps to ask */
  uint32_t transport;       /* EVENTS_* */
  uint32_t wake_mask;  /* EVENTS_IN_RINGS: an event wakes whose number has none of these bits */
  uint32_t has_copies; /* the programs are loaded several times, see enum copy_role */
  uint32_t asleep;     /* set by user space: the next event wakes it, and clears this */
};

/* What is settled before the programs are loaded: where the kernel takes constants (Linux 5.2),
 * they get it as such besides. `config.enabled` and `config.asleep` mean nothing there. */
struct tracer_constants {
  struct tracer_config config;
  struct offsets_table offsets;
};

/* tracer_config.transport: how events come to user space. */
#define EVENTS_IN_PERF_BUFFERS 0u
#define EVENTS_IN_RINGS 1u /* BPF ring buffers, one per CPU (objects for Linux 5.12 and later) */

/* By index of ebpf_protocol_index() (libebpf/control.h): 1 HTTP/1, 2 HTTP/2, 3 Dubbo, 4 MySQL,
 * 5 Redis, 6 Kafka, 7 DNS. */
#define PROTOCOL_BIT(index) (1u << (index))
#define PROTOCOLS_ALL 0xfeu

/* tracer_config.filters. */
#define FILTER_PORTS 1u       /* a port may be denied, or not be allowed */
#define FILTER_PIDS 2u        /* a process id may be denied */
#define FILTER_ONLY_PIDS 4u   /* only process ids that are allowed */
#define FILTER_NAMES 8u       /* a name may be denied */
#define FILTER_ONLY_NAMES 16u /* only names that are allowed */

/* Value of the process and name filter maps. */
#define FILTER_ALLOW 1u
#define FILTER_DENY 2u

/* Port filter map: 64 ports per entry, bit port % 64 of entry port / 64. */
struct port_filter {
  uint64_t allowed;
  uint64_t denied;
};
#define PORT_FILTER_ENTRIES 1024u

/* Per-CPU counters; index into the counters map. They only grow. */
enum kernel_counter {
  COUNTER_EMITTED,         /* events that the programs decided to emit */
  COUNTER_LOST,            /* of those: perf output failed */
  COUNTER_SOCKET_INSERTED, /* socket map entries made */
  COUNTER_SOCKET_DELETED,
  COUNTER_SOCKET_MAP_FULL, /* insert failed: the call was not captured */
  COUNTER_TRACE_INSERTED,  /* trace map entries made */
  COUNTER_TRACE_DELETED,
  COUNTER_TRACE_MAP_FULL,
  COUNTER_UNKNOWN,       /* calls not captured: none of the protocols */
  COUNTER_BAD_POINTER,   /* payload could not be read */
  COUNTER_FILTERED_PORT, /* socket calls not captured: a filter of that kind says so */
  COUNTER_FILTERED_PID,
  COUNTER_FILTERED_NAME,
  COUNTER_SKIPPED, /* told by the kernel: runs of the programs that it left out */
  COUNTER_COUNT
};

/*
 * Linux 7 may preempt a program, and until it goes on, leaves out every run of the same
 * program on that CPU. So the programs are loaded several times, and attached one behind the
 * other: a call is handled by the first copy that runs. Each has its own scratch and role.
 */
enum copy_role {
  ROLE_ONLY,  /* there are no others */
  ROLE_FIRST, /* nobody can have handled the call */
  ROLE_NEXT,
  ROLE_LAST, /* nobody asks behind this one */
};
/* By the lower bits of the thread id: the thread whose call was handled. */
#define HANDLED_MARKS 65536u

#endif

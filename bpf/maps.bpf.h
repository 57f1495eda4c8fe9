/* SPDX-License-Identifier: GPL-2.0 */
/* The maps. Sizes that depend on options or on the machine are set by user space. */
#ifndef LIBEBPF_BPF_MAPS_BPF_H
#define LIBEBPF_BPF_MAPS_BPF_H

#include "bpf/common.bpf.h"
#include "bpf/infer.h"
#include "bpf/socket_state.h"

/* Elements of an iovec array that one pass of gather looks at. */
#define IOVECS_MAX 16

/* Messages of one sendmmsg or recvmmsg that become records. The rest counts as not captured. */
#define MMSG_MAX 10
#define MMSG_TCP_MAX 8

/*
 * Tail calls that one system call may make: a kernel allows 32 in a row, some allow 33.
 * Each message needs three (gather, classify, emit), over TCP one more (classify_more); what
 * is left goes to further passes of gather over a long iovec array.
 */
#define TAIL_CALLS_MAX 32
#define TAIL_CALLS_PER_MESSAGE 3
#define TAIL_CALLS_PER_TCP_MESSAGE 4

enum call_kind {
  CALL_NO_BYTES, /* moved bytes that never were in user memory */
  CALL_BUFFER,   /* args: buffer, length */
  CALL_IOVEC,    /* args: struct iovec*, count */
  CALL_MSG,      /* args: struct msghdr* */
  CALL_MMSG,     /* args: struct mmsghdr*, count */
};

struct user_iovec {
  uint64_t base;
  uint64_t len;
};

/* The system call that is being handled: what one program leaves for the next. */
struct call_state {
  uint64_t thread; /* tgid << 32 | tid */
  uint64_t task;   /* EBPF_DIRECT_LOADS: the thread's task_struct */
  uint64_t start_ns;
  uint64_t sk;
  uint64_t inode;
  uint64_t user;       /* buffer, iovec array, msghdr or mmsghdr array */
  uint64_t user_count; /* bytes, or elements */
  uint64_t moved;      /* bytes that the call (of CALL_MMSG: this message) moved */
  uint64_t behind;     /* CALL_MMSG over TCP: bytes of the messages that follow */
  uint64_t name;       /* struct sockaddr*, or 0 */
  uint64_t name_len;
  uint64_t name_len_at; /* recvfrom: where user memory holds the length, or 0 */
  uint64_t message_iov; /* CALL_IOVEC, CALL_MSG, CALL_MMSG: struct iovec* */
  uint64_t message_iov_count;
  uint64_t held[2];     /* bytes of an earlier call that this one continues */
  uint64_t flush_moved; /* is_flush: what `moved` was */
  uint64_t inferred;    /* what infer.h said */
  struct infer_state state;
  uint32_t kind;
  uint32_t direction;
  uint32_t limit;    /* capture at most so many bytes */
  uint32_t captured; /* bytes gathered so far */
  uint32_t held_count;
  uint32_t flush_direction; /* is_flush: what `direction` was */
  uint32_t message;         /* CALL_MMSG: index */
  uint32_t message_count;
  uint32_t iovecs_done; /* elements of the iovec array that were gathered */
  uint32_t tail_calls;  /* spent so far */
  uint16_t family;
  uint8_t protocol;      /* IPPROTO_* */
  uint8_t is_truncating; /* received with MSG_TRUNC */
  uint8_t is_compat;     /* pointers and lengths in user structs have 32 bits */
  uint8_t is_flush;      /* what is emitted was held, and goes ahead of this call */
  uint8_t reserved[6];
  struct user_iovec iovecs[IOVECS_MAX];
};

/*
 * One per CPU, by index: a per-CPU array would be limited to 32 KiB. The payload has twice
 * the room that is used, so that "position below the maximum" and "size up to the
 * maximum", which is all that the verifier can follow, stay inside.
 */
struct scratch {
  struct call_state call;
  struct kernel_event event;
  union infer_window payload;
  uint8_t payload_rest[2 * EBPF_CAP_BYTES_MAX - sizeof(union infer_window)];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1); /* set: possible CPUs */
  __type(key, uint32_t);
  __type(value, struct scratch);
} scratch_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct tracer_config);
} config_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct offsets_table);
} offsets_map SEC(".maps");

#ifdef EBPF_CONSTANTS
/* The same two, as numbers that the verifier sees: what nobody asked for, e.g. a filter, it leaves
 * out of the program, and there is nothing to look up. */
const volatile struct tracer_constants constants SEC(".rodata.constants") = {};
#endif

struct counters {
  uint64_t of[COUNTER_COUNT];
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct counters);
} counters_map SEC(".maps");

/* Failed outputs, by lane. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1); /* set: lanes */
  __type(key, uint32_t);
  __type(value, uint64_t);
} lane_lost_map SEC(".maps");

struct next_ids {
  uint64_t socket;
  uint64_t trace;
};

struct {
#ifdef EBPF_ATOMIC_FETCH
  __uint(type, BPF_MAP_TYPE_ARRAY);
#else
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
#endif
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct next_ids);
} ids_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1); /* set: option */
  __type(key, uint64_t);
  __type(value, struct socket_entry);
} socket_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1); /* set: option */
  __type(key, uint64_t);
  __type(value, struct trace_entry);
} trace_map SEC(".maps");

#ifndef EBPF_ATOMIC_FETCH
/* Sockets of which a CPU is just taking the next number. */
#define CAP_SEQ_TRIES 16
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, uint64_t);
  __type(value, uint32_t);
} cap_seq_lock_map SEC(".maps");
#endif

/* See enum copy_role. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint32_t);
} role_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1); /* set: HANDLED_MARKS, where there are copies */
  __type(key, uint32_t);
  __type(value, uint64_t);
} handled_map SEC(".maps");

/* One question of user space: does any process still hold this sock? */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct liveness_query);
} liveness_map SEC(".maps");

/* Tracepoint back end: arguments of the system call that a thread is in. */
struct call_args {
  uint64_t nr;
  uint64_t args[6];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1); /* set, where the tracepoint back end is used */
  __type(key, uint64_t);
  __type(value, struct call_args);
} call_args_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(max_entries, 1); /* set: possible CPUs */
  __uint(key_size, sizeof(uint32_t));
  __uint(value_size, sizeof(uint32_t));
} events_map SEC(".maps");

/* Wakes user space, and holds nothing that it reads. */
struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(max_entries, 1); /* set: possible CPUs, where events come in perf buffers */
  __uint(key_size, sizeof(uint32_t));
  __uint(value_size, sizeof(uint32_t));
} bell_map SEC(".maps");

#ifdef EBPF_RINGS
/* A BPF ring buffer per CPU: all CPUs on one would wait for its lock. */
struct event_ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1); /* set: possible CPUs */
  __type(key, uint32_t);
  __array(values, struct event_ring);
} rings_map SEC(".maps");
#endif

/*
 * Header reads: some programs read the length or the header of a message first, and the
 * message with a second call. What the first one brought waits here for the second one, or
 * for whatever happens on the socket next. The map forgets by itself what nothing followed.
 */
struct held_read {
  uint64_t inode;
  uint64_t bytes[INFER_HELD_BYTES_MAX / 8];
  uint64_t count;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, uint64_t);
  __type(value, struct held_read);
} held_map SEC(".maps");

/* Filters, filled by user space before anything is attached. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PORT_FILTER_ENTRIES);
  __type(key, uint32_t);
  __type(value, struct port_filter);
} port_filter_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1); /* set: process ids given */
  __type(key, uint32_t);
  __type(value, uint32_t); /* FILTER_ALLOW or FILTER_DENY */
} pid_filter_map SEC(".maps");

struct comm {
  char bytes[EBPF_COMM_BYTES]; /* padded with zeros */
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1); /* set: names given */
  __type(key, struct comm);
  __type(value, uint32_t); /* FILTER_ALLOW or FILTER_DENY */
} name_filter_map SEC(".maps");

/* Filled by user space with the programs that handle a call, in this order. */
enum stage {
  STAGE_GATHER,
  STAGE_CLASSIFY,
  STAGE_CLASSIFY_MORE,
  STAGE_EMIT,
  STAGE_COMPAT,
  STAGE_COUNT
};

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, STAGE_COUNT);
  __uint(key_size, sizeof(uint32_t));
  __uint(value_size, sizeof(uint32_t));
} stages_map SEC(".maps");

#define LOOKUP_FIRST(map)               \
  ({                                    \
    uint32_t key_ = 0;                  \
    bpf_map_lookup_elem(&(map), &key_); \
  })

/* Both null where the kernel has no such map, which the verifier wants to be told. */
EBPF_INLINE const struct tracer_config* config_in_force(void) {
#ifdef EBPF_CONSTANTS
  const struct tracer_config* config = (const struct tracer_config*)&constants.config;
  FORGET(config); /* else the compiler would take the zeros above for the values */
  return config;
#else
  return LOOKUP_FIRST(config_map);
#endif
}

EBPF_INLINE const struct offsets_table* kernel_offsets(void) {
#ifdef EBPF_CONSTANTS
  const struct offsets_table* offsets = (const struct offsets_table*)&constants.offsets;
  FORGET(offsets);
  return offsets;
#else
  return LOOKUP_FIRST(offsets_map);
#endif
}

EBPF_INLINE int is_enabled(void) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  return config && config->enabled;
}

EBPF_INLINE struct scratch* this_cpu_scratch(void) {
  uint32_t cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&scratch_map, &cpu);
}

EBPF_INLINE void count(enum kernel_counter counter) {
  struct counters* counters = LOOKUP_FIRST(counters_map);
  /* Atomic, because a socket can end in an interrupt in between. */
  if (counters) __sync_fetch_and_add(&counters->of[counter], 1);
}

#endif

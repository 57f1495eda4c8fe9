/* SPDX-License-Identifier: GPL-2.0 */
/* Ids: of sockets, of records within a socket, and of the trace that a thread is in. */
#ifndef LIBEBPF_BPF_IDENTITY_BPF_H
#define LIBEBPF_BPF_IDENTITY_BPF_H

#include "bpf/maps.bpf.h"

/*
 * Unique ids that grow. The floor has no fetch-and-add: each CPU counts for itself, and
 * the ids of n CPUs interleave with a stride of n. `next` is &ids->socket or &ids->trace.
 */
EBPF_INLINE uint64_t take_id(uint64_t* next, const struct tracer_config* config) {
#ifdef EBPF_ATOMIC_FETCH
  return config->id_base + __sync_fetch_and_add(next, 1) + 1;
#else
  uint64_t n = *next;
  *next = n + 1;
  return config->id_base + n * config->cpu_count + bpf_get_smp_processor_id() + 1;
#endif
}

/*
 * Number of the next record of the socket. The floor has an atomic add, but none that tells
 * what was there before. So the CPU that manages to insert the socket into a map takes the
 * number, and removes it again; that takes a fraction of a microsecond, and the others try
 * as often as that may need. Who never got through takes a number all the same, which
 * another CPU may have taken.
 */
EBPF_INLINE uint64_t take_cap_seq(struct socket_entry* entry, uint64_t sk) {
#ifdef EBPF_ATOMIC_FETCH
  return __sync_fetch_and_add(&entry->cap_seq, 1);
#else
  uint32_t value = 0;
  uint64_t is_locked = 0;
#pragma unroll
  for (int i = 0; i < CAP_SEQ_TRIES; i++) {
    if (bpf_map_update_elem(&cap_seq_lock_map, &sk, &value, BPF_NOEXIST) == 0) {
      is_locked = 1;
      break;
    }
  }
  uint64_t seq = *(volatile uint64_t*)&entry->cap_seq;
  __sync_fetch_and_add(&entry->cap_seq, 1);
  if (is_locked) bpf_map_delete_elem(&cap_seq_lock_map, &sk);
  return seq;
#endif
}

/* The socket's entry; none if it was never recognised, or if the address belonged to
 * another socket before (*is_stale). */
EBPF_INLINE struct socket_entry* find_socket(const struct call_state* call, int* is_stale) {
  uint64_t key = call->sk;
  struct socket_entry* entry = bpf_map_lookup_elem(&socket_map, &key);
  *is_stale = entry && entry->inode != call->inode;
  return *is_stale ? 0 : entry;
}

/* Makes the entry. Another CPU may do so at the same time: the first one wins. */
EBPF_INLINE struct socket_entry* add_socket(const struct call_state* call, int is_stale,
                                            const struct tracer_config* config) {
  uint64_t key = call->sk;
  struct socket_entry fresh;
  __builtin_memset(&fresh, 0, sizeof(fresh));
  struct next_ids* ids = LOOKUP_FIRST(ids_map);
  if (!ids) return 0;
  fresh.socket_id = take_id(&ids->socket, config);
  fresh.inode = call->inode;
  fresh.last_use_ns = call->start_ns;
  /* An entry of a socket that is gone is overwritten as a whole, in one step. */
  long result = bpf_map_update_elem(&socket_map, &key, &fresh, is_stale ? BPF_ANY : BPF_NOEXIST);
  if (result == 0) {
    count(COUNTER_SOCKET_INSERTED);
    if (is_stale) count(COUNTER_SOCKET_DELETED);
  }
  struct socket_entry* entry = bpf_map_lookup_elem(&socket_map, &key);
  if (!entry || entry->inode != call->inode) {
    count(COUNTER_SOCKET_MAP_FULL);
    return 0;
  }
  return entry;
}

/* The trace id of a record, and the thread's memory of it. */
EBPF_INLINE uint64_t trace_id_of(uint64_t thread, uint64_t socket_id, uint32_t direction,
                                 const struct tracer_config* config) {
  struct trace_entry* entry = bpf_map_lookup_elem(&trace_map, &thread);
  if (direction == SOCK_DIR_SND) {
    if (!entry) return 0;
    entry->direction = SOCK_DIR_SND;
    entry->socket_id = socket_id;
    return entry->trace_id;
  }
  /* One message read in pieces stays one trace. */
  if (entry && entry->direction == SOCK_DIR_RCV && entry->socket_id == socket_id)
    return entry->trace_id;
  struct next_ids* ids = LOOKUP_FIRST(ids_map);
  if (!ids) return 0;
  if (entry) {
    uint64_t trace_id = take_id(&ids->trace, config);
    entry->trace_id = trace_id;
    entry->socket_id = socket_id;
    entry->direction = SOCK_DIR_RCV;
    return trace_id;
  }
  struct trace_entry fresh;
  __builtin_memset(&fresh, 0, sizeof(fresh));
  fresh.trace_id = take_id(&ids->trace, config);
  fresh.socket_id = socket_id;
  fresh.direction = SOCK_DIR_RCV;
  if (bpf_map_update_elem(&trace_map, &thread, &fresh, BPF_NOEXIST)) {
    count(COUNTER_TRACE_MAP_FULL);
    return 0;
  }
  count(COUNTER_TRACE_INSERTED);
  return fresh.trace_id;
}

EBPF_INLINE void forget_thread(uint64_t thread) {
  if (bpf_map_delete_elem(&trace_map, &thread) == 0) count(COUNTER_TRACE_DELETED);
}

EBPF_INLINE void forget_socket(uint64_t sk) {
  const struct socket_entry* entry = bpf_map_lookup_elem(&socket_map, &sk);
  if (entry && entry->held_count) count(COUNTER_UNKNOWN); /* a header that nothing followed */
  if (bpf_map_delete_elem(&socket_map, &sk) == 0) count(COUNTER_SOCKET_DELETED);
}

#endif

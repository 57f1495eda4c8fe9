/* SPDX-License-Identifier: GPL-2.0 */
/* Decides which protocol a gathered call speaks, and so whether it becomes a record. */
#ifndef LIBEBPF_BPF_CLASSIFY_BPF_H
#define LIBEBPF_BPF_CLASSIFY_BPF_H

#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"

EBPF_INLINE struct infer_input infer_input_of(const struct scratch* scratch,
                                              const struct tracer_config* config) {
  const struct call_state* call = &scratch->call;
  struct infer_input input = {
      .window = &scratch->payload,
      .count = call->captured < INFER_WINDOW_BYTES ? call->captured : INFER_WINDOW_BYTES,
      .total = call->moved,
      .is_tcp = call->protocol == EBPF_IPPROTO_TCP,
      .direction = call->direction,
      .protocols = config->protocols,
  };
  return input;
}

/* The first step of inference, from what is known of the socket. Returns 1 if there has to
 * be a second one. */
EBPF_INLINE int classify(struct scratch* scratch, const struct tracer_config* config) {
  struct call_state* call = &scratch->call;
  int is_stale;
  const struct socket_entry* entry = find_socket(call, &is_stale);
  __builtin_memset(&call->state, 0, sizeof(call->state));
  if (entry) call->state = entry->state;
  struct infer_input input = infer_input_of(scratch, config);
  uint64_t result = infer_first(&input, &call->state);
  call->inferred = result;
  return infer_needs_second(&input, &call->state, result);
}

EBPF_INLINE void classify_more(struct scratch* scratch, const struct tracer_config* config) {
  struct infer_input input = infer_input_of(scratch, config);
  scratch->call.inferred = infer_second(&input, &scratch->call.state);
}

/* Returns 0 if the call is not captured. A socket that was recognised before is captured in
 * any case, whatever these bytes look like. */
EBPF_INLINE int is_wanted(struct scratch* scratch, const struct tracer_config* config) {
  struct call_state* call = &scratch->call;
  struct infer_input input = infer_input_of(scratch, config);
  infer_learn(&input, &call->state, call->inferred);
  return call->state.protocol || config->capture_unknown;
}

/* A receiving call over TCP that brought just a message's length, it seems: kept for the
 * next one. It counts as not captured until that has come. */
EBPF_INLINE void hold_header_read(const struct scratch* scratch) {
  const struct call_state* call = &scratch->call;
  if (call->moved != HELD_BYTES || call->captured != HELD_BYTES) return;
  if (call->protocol != EBPF_IPPROTO_TCP || call->direction != SOCK_DIR_RCV) return;
  uint64_t key = call->sk;
  struct held_read held = {.inode = call->inode, .bytes = scratch->payload.words[0]};
  bpf_map_update_elem(&held_map, &key, &held, BPF_ANY);
}

/* Puts what was held in front of this call, as if one call had brought both; it is to be
 * gathered again then. Its sequence number follows from the length. */
EBPF_INLINE int join_header_read(struct call_state* call) {
  if (call->protocol != EBPF_IPPROTO_TCP || call->direction != SOCK_DIR_RCV) return 0;
  if (call->held_count || call->kind == CALL_MMSG) return 0;
  uint64_t key = call->sk;
  const struct held_read* held = bpf_map_lookup_elem(&held_map, &key);
  if (!held || held->inode != call->inode) return 0;
  call->held = held->bytes;
  call->held_count = HELD_BYTES;
  call->moved += HELD_BYTES;
  bpf_map_delete_elem(&held_map, &key);
  return 1;
}

#endif

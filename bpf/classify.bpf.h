/* SPDX-License-Identifier: GPL-2.0 */
/* Decides which protocol a gathered call speaks, and so whether it becomes a record. */
#ifndef LIBEBPF_BPF_CLASSIFY_BPF_H
#define LIBEBPF_BPF_CLASSIFY_BPF_H

#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"

EBPF_INLINE struct infer_input infer_input_of(const struct scratch* scratch,
                                              const struct tracer_config* config) {
  const struct call_state* call = &scratch->call;
  uint64_t count = call->captured;
  uint64_t is_tcp = call->protocol == EBPF_IPPROTO_TCP;
  if (count > INFER_WINDOW_BYTES) count = INFER_WINDOW_BYTES;
  INFER_JOIN(count);
  INFER_JOIN(is_tcp);
  struct infer_input input = {
      .window = &scratch->payload,
      .count = count,
      .total = call->moved,
      .is_tcp = is_tcp,
      .direction = call->direction,
      .protocols = config->protocols,
  };
  return input;
}

/* Returns 1 if there has to be a second step. A large program calls it: it needs much stack, and
 * shares that with what the caller does afterwards. */
EBPF_APART int infer_first_step(struct scratch* scratch, const struct tracer_config* config) {
  struct call_state* call = &scratch->call;
  struct infer_input input = infer_input_of(scratch, config);
  uint64_t result = infer_first(&input, &call->state);
  call->inferred = result;
  return infer_needs_second(&input, &call->state, result);
}

#ifdef EBPF_LARGE_PROGRAMS
EBPF_APART int infer_settled_step(struct scratch* scratch, const struct tracer_config* config) {
  struct call_state* call = &scratch->call;
  struct infer_input input = infer_input_of(scratch, config);
  uint64_t result = infer_settled(&input, &call->state);
  call->inferred = result;
  return result ? 0 : infer_needs_second(&input, &call->state, 0);
}
#endif

/* The first step of inference, from what is known of the socket (`entry` may be null). Returns 1 if
 * there has to be a second one. */
EBPF_INLINE int classify(struct scratch* scratch, const struct tracer_config* config,
                         const struct socket_entry* entry) {
  struct call_state* call = &scratch->call;
  __builtin_memset(&call->state, 0, sizeof(call->state));
  if (entry) call->state = entry->state;
#ifdef EBPF_LARGE_PROGRAMS
  if (infer_is_settled(&call->state)) return infer_settled_step(scratch, config);
#endif
  return infer_first_step(scratch, config);
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

/* ---- Headers that are read by a call of their own ---- */

/* Keeps a header read for the next call. A socket that is captured in any case must have an
 * entry, which then tells that something waits. Returns 0 if there is nothing to keep. */
EBPF_INLINE int hold_header_read(const struct scratch* scratch,
                                 const struct tracer_config* config) {
  const struct call_state* call = &scratch->call;
  struct infer_input input = infer_input_of(scratch, config);
  if (call->held_count || call->kind == CALL_MMSG) return 0;
  if (!infer_holds(&input, &call->state, call->inferred)) return 0;
  int is_stale;
  struct socket_entry* entry = find_socket(call, &is_stale);
  if (!entry && config->capture_unknown) return 0;
  uint64_t key = call->sk;
  struct held_read held = {
      .inode = call->inode,
      .bytes = {scratch->payload.words[0], scratch->payload.words[1]},
      .count = call->moved,
  };
  if (bpf_map_update_elem(&held_map, &key, &held, BPF_ANY)) return 0;
  /* Tested anew: the compiler would remember in a flag whether there is one, and the 4.14
   * verifier does not know that a flag of 1 is not 0. */
  FORGET(entry);
  if (entry) entry->held_count = call->moved;
  return 1;
}

/* What waits for this socket's next call, if anything does. */
EBPF_INLINE const struct held_read* find_held(const struct call_state* call) {
  uint64_t key = call->sk;
  const struct held_read* held = bpf_map_lookup_elem(&held_map, &key);
  return held && held->inode == call->inode ? held : 0;
}

/* Puts what was held in front of this call, as if one call had brought both; it is to be
 * gathered again then. Its sequence number follows from the length. */
EBPF_INLINE void join_held(struct call_state* call, const struct held_read* held) {
  uint64_t key = call->sk;
  call->held[0] = held->bytes[0];
  call->held[1] = held->bytes[1];
  call->held_count = held->count & (2 * INFER_HELD_BYTES_MAX - 1);
  call->moved += call->held_count;
  bpf_map_delete_elem(&held_map, &key);
}

/* Unknown sockets: after a call that says nothing by itself. */
EBPF_INLINE int join_header_read(struct call_state* call) {
  if (call->protocol != EBPF_IPPROTO_TCP || call->direction != SOCK_DIR_RCV) return 0;
  if (call->held_count || call->kind == CALL_MMSG) return 0;
  const struct held_read* held = find_held(call);
  if (!held) return 0;
  join_held(call, held);
  return 1;
}

enum held_step { HELD_NOTHING, HELD_JOIN, HELD_FLUSH };

/* Known sockets: what waits is joined to a receiving call, and goes ahead of any other one
 * as a record of its own; then this call is emitted with the bytes that were held, and
 * comes back to be gathered again. */
EBPF_INLINE enum held_step take_held(struct scratch* scratch, struct socket_entry* entry) {
  struct call_state* call = &scratch->call;
  if (call->protocol != EBPF_IPPROTO_TCP || call->held_count) return HELD_NOTHING;
  if (!entry || !entry->held_count) return HELD_NOTHING;
  entry->held_count = 0;
  const struct held_read* held = find_held(call);
  if (!held) return HELD_NOTHING;
  if (call->direction == SOCK_DIR_RCV && call->kind != CALL_MMSG) {
    join_held(call, held);
    return HELD_JOIN;
  }
  uint64_t key = call->sk;
  call->is_flush = 1;
  call->flush_moved = call->moved;
  call->flush_direction = call->direction;
  if (call->direction == SOCK_DIR_RCV) call->behind += call->moved;
  call->direction = SOCK_DIR_RCV;
  call->moved = held->count & (2 * INFER_HELD_BYTES_MAX - 1);
  call->captured = call->moved;
  call->inferred = 0;
  call->state = entry->state;
  scratch->payload.words[0] = held->bytes[0];
  scratch->payload.words[1] = held->bytes[1];
  bpf_map_delete_elem(&held_map, &key);
  return HELD_FLUSH;
}

/* After the record of what was held: back to the call itself. */
EBPF_INLINE void end_flush(struct call_state* call) {
  call->is_flush = 0;
  call->direction = call->flush_direction;
  call->moved = call->flush_moved;
  /* Gathering this message once more counts it once more. */
  if (call->kind == CALL_MMSG && call->direction == SOCK_DIR_SND) call->behind += call->moved;
  call->iovecs_done = 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What both attach back ends do with a call once they know its number and arguments. One system
 * call passes through some of the programs, by tail calls, so that none comes near the 4,096
 * instructions that Linux 4.14 allows, nor near the number of paths that its verifier follows:
 *
 *   exit      which call, which socket    (entered by the hook)
 *   gather    the bytes, from user memory
 *   classify  the protocol            (and for TCP classify_more: it takes two)
 *   emit      ids, the record             (and back to gather, for sendmmsg and recvmmsg)
 *
 * Where programs may be large (EBPF_LARGE_PROGRAMS), exit does all of it for a call on a socket
 * that is known, as far as one pass of gather and the first step of inference are enough.
 */
#ifndef LIBEBPF_BPF_STAGES_BPF_H
#define LIBEBPF_BPF_STAGES_BPF_H

#include "bpf/args.bpf.h"
#include "bpf/classify.bpf.h"
#include "bpf/emit.bpf.h"
#include "bpf/filter.bpf.h"
#include "bpf/gather.bpf.h"
#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"
#include "bpf/sock.bpf.h"

#ifdef EBPF_LARGE_PROGRAMS
#define IS_LARGE 1
#else
#define IS_LARGE 0
#endif

EBPF_INLINE void go_to(void* ctx, struct scratch* scratch, enum stage stage) {
  scratch->call.tail_calls++;
  bpf_tail_call(ctx, &stages_map, stage);
}

/* What a stage needs, looked up once in each program. */
struct context {
  void* ctx;
  struct scratch* scratch;
  const struct tracer_config* config;
  const struct offsets_table* at;
};

EBPF_INLINE int open_context(struct context* here, void* ctx) {
  here->ctx = ctx;
  here->scratch = this_cpu_scratch();
  here->config = config_in_force();
  here->at = kernel_offsets();
  return here->scratch && here->config && here->at;
}

/* Who makes a call. */
struct caller {
  uint64_t task;
  uint64_t thread;
};

EBPF_INLINE void identify_caller(struct caller* caller) {
  caller->task = current_task();
  caller->thread = thread_of(caller->task);
}

/* Whether an earlier copy of this program has handled the call already; see enum copy_role. */
EBPF_INLINE int is_handled(uint64_t thread, const struct tracer_config* config) {
  if (!config->has_copies) return 0;
  const uint32_t* role = LOOKUP_FIRST(role_map);
  if (!role || *role == ROLE_ONLY) return 0;
  uint32_t slot = (uint32_t)thread & (HANDLED_MARKS - 1);
  uint64_t* mark = bpf_map_lookup_elem(&handled_map, &slot);
  if (!mark) return 0;
  int is_marked = *role != ROLE_FIRST && *mark == thread;
  *mark = *role == ROLE_LAST ? 0 : thread;
  return is_marked;
}

/* The producer's calls are not captured. It may be one by which it asks. */
EBPF_INLINE void answer_query(void) {
  struct liveness_query* query = LOOKUP_FIRST(liveness_map);
  const struct offsets_table* at = kernel_offsets();
  struct sock_kind kind;
  if (!query || !at || !query->sk) return;
  query->is_dead = (READ_KERNEL(uint64_t, query->sk, at->sock_flags) & FLAG_BIT_DEAD) ||
                   !read_kind(&kind, query->sk, at);
  query->sk = 0;
}

/* Whether the call that ends is to be captured, as far as it depends on who makes it, and on
 * whether an earlier copy of this program did so already. */
EBPF_INLINE int is_for_us(struct caller* caller) {
  const struct tracer_config* config = config_in_force();
  if (!config) return 0;
  identify_caller(caller);
  if (caller->thread >> 32 == config->producer_tgid) {
    answer_query();
    return 0;
  }
  return is_enabled() && !is_handled(caller->thread, config);
}

/* Bytes of the messages that a sendmmsg or recvmmsg over TCP moved, all together. */
EBPF_INLINE uint64_t mmsg_total(const struct call_state* call) {
  uint64_t total = 0;
#pragma unroll
  for (uint32_t i = 0; i < MMSG_MAX; i++) {
    uint32_t moved = 0;
    if (i >= *(volatile uint32_t*)&call->message_count) break;
    read_user(&moved, sizeof(moved), message_len_at(call, i));
    total += moved;
  }
  return total;
}

/* Which socket a call is about. */
EBPF_INLINE int find_call_socket(struct call_state* call, uint64_t task,
                                 const struct offsets_table* at, uint64_t nr,
                                 const uint64_t* args) {
  if (resolve_socket(call, task, at, args[0])) return 1;
  if (nr != NR_SPLICE) return 0;
  call->direction = SOCK_DIR_SND;
  return resolve_socket(call, task, at, args[2]);
}

EBPF_INLINE void run_gather(const struct context* here, int does_the_rest);

/* A call has ended with ret > 0. Goes on to gather what it moved, if that is wanted. */
EBPF_INLINE void begin_call(void* ctx, const struct caller* caller, uint64_t nr,
                            const uint64_t* args, uint64_t ret, int is_compat) {
  struct context here;
  if (!open_context(&here, ctx)) return;
  struct call_state* call = &here.scratch->call;
  call->task = caller->task;
  call->thread = caller->thread;
  if (!decode_call(call, nr, args)) return;
  if (!find_call_socket(call, caller->task, here.at, nr, args)) return;
  call->start_ns = bpf_ktime_get_ns();
  if (here.config->filters && !is_process_wanted(call->thread, here.config)) return;
  call->moved = ret;
  call->behind = 0;
  call->held[0] = 0;
  call->held[1] = 0;
  call->held_count = 0;
  call->is_flush = 0;
  call->message = 0;
  call->message_count = 1;
  call->iovecs_done = 0;
  call->tail_calls = is_compat;
  call->is_compat = is_compat;
  if (call->kind == CALL_MMSG) {
    call->message_count = ret;
    uint64_t limit = call->protocol == EBPF_IPPROTO_TCP ? MMSG_TCP_MAX : MMSG_MAX;
    if (ret > limit) {
      count(COUNTER_UNKNOWN); /* the messages behind are not captured */
      call->message_count = limit;
    }
    if (call->protocol == EBPF_IPPROTO_TCP) call->behind = mmsg_total(call);
  }
  if (!IS_LARGE || is_compat) {
    go_to(ctx, here.scratch, STAGE_GATHER);
  } else {
    run_gather(&here, 1);
  }
}

/* The next message of a sendmmsg or recvmmsg. */
EBPF_INLINE void run_next_message(const struct context* here) {
  struct call_state* call = &here->scratch->call;
  if (++call->message >= call->message_count) return;
  call->iovecs_done = 0;
  go_to(here->ctx, here->scratch, STAGE_GATHER);
}

EBPF_INLINE void emit_and_go_on(const struct context* here, struct socket_entry* entry) {
  struct call_state* call = &here->scratch->call;
  emit(here->ctx, here->scratch, here->config, here->at, entry);
  if (call->is_flush) {
    end_flush(call);
    go_to(here->ctx, here->scratch, STAGE_GATHER);
    return;
  }
  run_next_message(here);
}

/* After the last step of inference. `entry`: the socket's, null if that is not known. */
EBPF_INLINE void run_verdict(const struct context* here, struct socket_entry* entry) {
  struct scratch* scratch = here->scratch;
  if (hold_header_read(scratch, here->config)) {
    if (!scratch->call.state.protocol) count(COUNTER_UNKNOWN); /* until the rest has come */
  } else if (is_wanted(scratch, here->config)) {
    if (IS_LARGE && entry) {
      emit_and_go_on(here, entry);
    } else {
      go_to(here->ctx, scratch, STAGE_EMIT);
    }
  } else if (join_header_read(&scratch->call)) {
    scratch->call.iovecs_done = 0;
    go_to(here->ctx, scratch, STAGE_GATHER);
  } else {
    count(COUNTER_UNKNOWN);
    run_next_message(here);
  }
}

EBPF_INLINE void run_classify(const struct context* here) {
  struct scratch* scratch = here->scratch;
  int is_stale;
  struct socket_entry* entry = find_socket(&scratch->call, &is_stale);
  enum held_step step = take_held(scratch, entry);
  if (step == HELD_JOIN) {
    scratch->call.iovecs_done = 0;
    go_to(here->ctx, scratch, STAGE_GATHER);
    return;
  }
  if (step == HELD_FLUSH) {
    go_to(here->ctx, scratch, STAGE_EMIT);
    return;
  }
  if (classify(scratch, here->config, entry)) go_to(here->ctx, scratch, STAGE_CLASSIFY_MORE);
  run_verdict(here, entry);
}

/* Comes back to itself for a long iovec array. `does_the_rest`: all stages in one program, and
 * never for a 32-bit call. */
EBPF_INLINE void run_gather(const struct context* here, int does_the_rest) {
  const struct tracer_config* config = here->config;
  struct scratch* scratch = here->scratch;
  struct call_state* call = &scratch->call;
  int is_native = does_the_rest;
  if (call->iovecs_done == 0) {
    if (!begin_gather(scratch, config->cap_bytes, is_native)) count(COUNTER_BAD_POINTER);
    int is_wanted = call->moved != 0; /* an empty datagram is none */
    if (is_wanted && (config->filters & FILTER_PORTS)) is_wanted = are_ports_wanted(call, here->at);
    if (!is_wanted) {
      run_next_message(here);
      return;
    }
  }
  if (!gather(scratch, is_native)) count(COUNTER_BAD_POINTER);
  if (has_more_to_gather(call)) {
    go_to(here->ctx, scratch, STAGE_GATHER);
  } else if (does_the_rest) {
    run_classify(here);
  } else {
    go_to(here->ctx, scratch, STAGE_CLASSIFY);
  }
}

/* ---- As programs of their own ---- */

EBPF_INLINE int gather_stage(void* ctx) {
  struct context here;
  if (open_context(&here, ctx)) run_gather(&here, 0);
  return 0;
}

EBPF_INLINE int classify_stage(void* ctx) {
  struct context here;
  if (open_context(&here, ctx)) run_classify(&here);
  return 0;
}

EBPF_INLINE int classify_more_stage(void* ctx) {
  struct context here;
  if (!open_context(&here, ctx)) return 0;
  classify_more(here.scratch, here.config);
  run_verdict(&here, 0);
  return 0;
}

EBPF_INLINE int emit_stage(void* ctx) {
  struct context here;
  if (open_context(&here, ctx)) emit_and_go_on(&here, 0);
  return 0;
}

/* ---- Sockets and threads that end ---- */

/* A TCP socket that no process holds any more reaches its end. One that is still held is
 * left alone: what it has received can still be read. */
EBPF_INLINE void end_socket(uint64_t sk) {
  const struct offsets_table* at = kernel_offsets();
  if (at && (READ_KERNEL(uint64_t, sk, at->sock_flags) & FLAG_BIT_DEAD)) forget_socket(sk);
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs. One system call passes through some of them, by tail calls, so that none
 * comes near the 4,096 instructions that Linux 4.14 allows, nor near the number of paths
 * that its verifier follows:
 *
 *   exit      which call, which socket    (entered by the hook)
 *   gather    the bytes, from user memory
 *   classify  the protocol            (and for TCP classify_more: it takes two)
 *   emit      ids, the record             (and back to gather, for sendmmsg and recvmmsg)
 *
 * Where programs may be large (EBPF_LARGE_PROGRAMS), the usual way is through two of them: exit
 * with gather, and classify with emit. All in one would need more stack than there is.
 *
 * Two attach back ends lead there; user space loads the programs of one of them.
 *   raw         raw_tp/sys_exit alone. On x86-64 the arguments still stand in the saved
 *               registers when the call ends (Linux 4.17).
 *   tracepoint  syscalls/sys_enter_* keeps the arguments until sys_exit_* (Linux 4.14).
 *
 * close() needs no hook. A TCP socket says itself when it has ended, which dup and fork
 * cannot confuse. Of the others (UDP, or reset before) user space asks; an address that is
 * used again before that is told by the inode's number.
 *
 * Everything returns 0, always: the traced process must not notice.
 */
#include "bpf/args.bpf.h"
#include "bpf/classify.bpf.h"
#include "bpf/emit.bpf.h"
#include "bpf/filter.bpf.h"
#include "bpf/gather.bpf.h"
#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"
#include "bpf/sock.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* struct pt_regs of x86-64, from bp to cs. */
struct saved_regs {
  uint64_t bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};
#define SAVED_REGS_OFFSET 32
#define USER_CS_64 0x33
#define INT_0X80 0x80cd /* its two bytes */

/* What tells whether a call is traced, and then its arguments. One read brings both, where a read
 * is a call. */
#ifdef EBPF_DIRECT_LOADS
#define READ_REG(regs, at, name) \
  ((regs)->name = READ_KERNEL(uint64_t, at, __builtin_offsetof(struct saved_regs, name)))

EBPF_INLINE int read_call_number(struct saved_regs* regs, uint64_t at) {
  READ_REG(regs, at, cs);
  READ_REG(regs, at, orig_ax);
  return 1;
}

EBPF_INLINE void read_arguments(struct saved_regs* regs, uint64_t at) {
  READ_REG(regs, at, di);
  READ_REG(regs, at, si);
  READ_REG(regs, at, dx);
  READ_REG(regs, at, r10);
  READ_REG(regs, at, r8);
  READ_REG(regs, at, r9);
  READ_REG(regs, at, cx);
  READ_REG(regs, at, ip);
}
#else
EBPF_INLINE int read_call_number(struct saved_regs* regs, uint64_t at) {
  return bpf_probe_read_kernel(regs, sizeof(*regs), (const void*)at) == 0;
}

EBPF_INLINE void read_arguments(struct saved_regs* regs, uint64_t at) {}
#endif

/* `int 0x80` in a 64-bit process: a 32-bit call, whose number means something else here.
 * `syscall` leaves the address behind it in cx, where FRED does not do the processor's work. */
EBPF_INLINE int is_int80(const struct saved_regs* regs) {
  uint16_t code = 0;
  if (regs->cx == regs->ip) return 0;
  if (read_user(&code, sizeof(code), regs->ip - sizeof(code))) return 0;
  return code == INT_0X80;
}

EBPF_INLINE void go_to(void* ctx, struct scratch* scratch, enum stage stage) {
  scratch->call.tail_calls++;
  bpf_tail_call(ctx, &stages_map, stage);
}

#ifdef EBPF_LARGE_PROGRAMS
#define IS_LARGE 1
#else
#define IS_LARGE 0
#endif

EBPF_INLINE void run_gather(void* ctx);
EBPF_INLINE void emit_and_go_on(void* ctx, struct scratch* scratch,
                                const struct tracer_config* config, struct socket_entry* entry);

EBPF_INLINE const struct tracer_config* active_config(void) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  if (!config || !config->enabled) return 0;
  if (bpf_get_current_pid_tgid() >> 32 == config->producer_tgid) return 0;
  return config;
}

/* Whether an earlier copy of this program has handled the call already; see enum copy_role. */
EBPF_INLINE int is_handled(void) {
  const uint32_t* role = LOOKUP_FIRST(role_map);
  if (!role || *role == ROLE_ONLY) return 0;
  uint64_t thread = bpf_get_current_pid_tgid();
  uint32_t slot = (uint32_t)thread & (HANDLED_MARKS - 1);
  uint64_t* mark = bpf_map_lookup_elem(&handled_map, &slot);
  if (!mark) return 0;
  int is_marked = *role != ROLE_FIRST && *mark == thread;
  *mark = *role == ROLE_LAST ? 0 : thread;
  return is_marked;
}

/* At the end of a call that is not captured: it may be the producer's, which asks. */
EBPF_INLINE void answer_query(void) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  if (!config || bpf_get_current_pid_tgid() >> 32 != config->producer_tgid) return;
  struct liveness_query* query = LOOKUP_FIRST(liveness_map);
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  struct sock_kind kind;
  if (!query || !at || !query->sk) return;
  query->is_dead = (READ_KERNEL(uint64_t, query->sk, at->sock_flags) & FLAG_BIT_DEAD) ||
                   !read_kind(&kind, query->sk, at);
  query->sk = 0;
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
EBPF_INLINE int find_call_socket(struct call_state* call, const struct offsets_table* at,
                                 uint64_t nr, const uint64_t* args) {
  if (resolve_socket(call, at, args[0])) return 1;
  if (nr != NR_SPLICE) return 0;
  call->direction = SOCK_DIR_SND;
  return resolve_socket(call, at, args[2]);
}

/* A call has ended with ret > 0. Goes on to gather what it moved, if that is wanted. */
EBPF_INLINE void begin_call(void* ctx, uint64_t nr, const uint64_t* args, uint64_t ret,
                            int is_compat, const struct tracer_config* config) {
  struct scratch* scratch = this_cpu_scratch();
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  if (!scratch || !at) return;
  struct call_state* call = &scratch->call;
  if (!decode_call(call, nr, args)) return;
  if (!find_call_socket(call, at, nr, args)) return;
  call->start_ns = bpf_ktime_get_ns();
  if (config->filters && !is_process_wanted(config)) return;
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
    go_to(ctx, scratch, STAGE_GATHER);
  } else {
    run_gather(ctx);
  }
}

/* The next message of a sendmmsg or recvmmsg. */
EBPF_INLINE void run_next_message(void* ctx, struct scratch* scratch) {
  if (++scratch->call.message >= scratch->call.message_count) return;
  scratch->call.iovecs_done = 0;
  go_to(ctx, scratch, STAGE_GATHER);
}

/* Comes back to itself for a long iovec array. */
EBPF_INLINE void run_gather(void* ctx) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  struct scratch* scratch = this_cpu_scratch();
  if (!config || !at || !scratch) return;
  struct call_state* call = &scratch->call;
  if (call->iovecs_done == 0) {
    if (!begin_gather(scratch, config->cap_bytes)) count(COUNTER_BAD_POINTER);
    int is_wanted = call->moved != 0; /* an empty datagram is none */
    if (is_wanted && (config->filters & FILTER_PORTS)) is_wanted = are_ports_wanted(call, at);
    if (!is_wanted) {
      run_next_message(ctx, scratch);
      return;
    }
  }
  if (!gather(scratch)) count(COUNTER_BAD_POINTER);
  if (has_more_to_gather(call)) {
    go_to(ctx, scratch, STAGE_GATHER);
  } else {
    go_to(ctx, scratch, STAGE_CLASSIFY);
  }
}

/* After the last step of inference. `entry`: the socket's, null if that is not known. */
EBPF_INLINE void run_verdict(void* ctx, struct scratch* scratch, const struct tracer_config* config,
                             struct socket_entry* entry) {
  if (hold_header_read(scratch, config)) {
    if (!scratch->call.state.protocol) count(COUNTER_UNKNOWN); /* until the rest has come */
  } else if (is_wanted(scratch, config)) {
    if (IS_LARGE && entry) {
      emit_and_go_on(ctx, scratch, config, entry);
    } else {
      go_to(ctx, scratch, STAGE_EMIT);
    }
  } else if (join_header_read(&scratch->call)) {
    scratch->call.iovecs_done = 0;
    go_to(ctx, scratch, STAGE_GATHER);
  } else {
    count(COUNTER_UNKNOWN);
    run_next_message(ctx, scratch);
  }
}

EBPF_INLINE void run_classify(void* ctx) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  struct scratch* scratch = this_cpu_scratch();
  if (!config || !scratch) return;
  int is_stale;
  struct socket_entry* entry = find_socket(&scratch->call, &is_stale);
  enum held_step step = take_held(scratch, entry);
  if (step == HELD_JOIN) {
    scratch->call.iovecs_done = 0;
    go_to(ctx, scratch, STAGE_GATHER);
    return;
  }
  if (step == HELD_FLUSH) {
    go_to(ctx, scratch, STAGE_EMIT);
    return;
  }
  if (classify(scratch, config, entry)) go_to(ctx, scratch, STAGE_CLASSIFY_MORE);
  run_verdict(ctx, scratch, config, entry);
}

EBPF_INLINE void run_classify_more(void* ctx) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  struct scratch* scratch = this_cpu_scratch();
  if (!config || !scratch) return;
  classify_more(scratch, config);
  run_verdict(ctx, scratch, config, 0);
}

EBPF_INLINE void emit_and_go_on(void* ctx, struct scratch* scratch,
                                const struct tracer_config* config, struct socket_entry* entry) {
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  if (!at) return;
  emit(ctx, scratch, config, at, entry);
  if (scratch->call.is_flush) {
    end_flush(&scratch->call);
    go_to(ctx, scratch, STAGE_GATHER);
    return;
  }
  run_next_message(ctx, scratch);
}

EBPF_INLINE void run_emit(void* ctx) {
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  struct scratch* scratch = this_cpu_scratch();
  if (config && scratch) emit_and_go_on(ctx, scratch, config, 0);
}

/* ---- Back end: raw ---- */

SEC("raw_tp/sys_exit")
int raw_exit(struct bpf_raw_tracepoint_args* ctx) {
  int64_t ret = ctx->args[1];
  if (ret <= 0) return 0;
  uint64_t regs_at = ctx->args[0] + SAVED_REGS_OFFSET;
  struct saved_regs regs;
  if (!read_call_number(&regs, regs_at)) return 0;
  if (regs.cs != USER_CS_64) {
    bpf_tail_call(ctx, &stages_map, STAGE_COMPAT);
    return 0;
  }
  if (!is_traced_call(regs.orig_ax)) return 0;
  const struct tracer_config* config = active_config();
  if (!config) {
    answer_query();
    return 0;
  }
  if (is_handled()) return 0;
  read_arguments(&regs, regs_at);
  if (is_int80(&regs)) return 0;
  uint64_t args[6] = {regs.di, regs.si, regs.dx, regs.r10, regs.r8, regs.r9};
  begin_call(ctx, regs.orig_ax, args, ret, 0, config);
  return 0;
}

/* The same for 32-bit processes, whose calls have numbers and structs of their own. */
SEC("raw_tp")
int raw_compat(struct bpf_raw_tracepoint_args* ctx) {
  const struct tracer_config* config = active_config();
  struct saved_regs regs;
  if (!config ||
      bpf_probe_read_kernel(&regs, sizeof(regs), (const void*)(ctx->args[0] + SAVED_REGS_OFFSET)))
    return 0;
  uint64_t args[6] = {(uint32_t)regs.bx, (uint32_t)regs.cx, (uint32_t)regs.dx,
                      (uint32_t)regs.si, (uint32_t)regs.di, (uint32_t)regs.bp};
  uint64_t nr = widen_call((uint32_t)regs.orig_ax, args);
  if (nr != NR_NONE && !is_handled()) begin_call(ctx, nr, args, ctx->args[1], 1, config);
  return 0;
}

SEC("raw_tp")
int raw_gather(struct bpf_raw_tracepoint_args* ctx) {
  run_gather(ctx);
  return 0;
}

SEC("raw_tp")
int raw_classify(struct bpf_raw_tracepoint_args* ctx) {
  run_classify(ctx);
  return 0;
}

SEC("raw_tp")
int raw_classify_more(struct bpf_raw_tracepoint_args* ctx) {
  run_classify_more(ctx);
  return 0;
}

SEC("raw_tp")
int raw_emit(struct bpf_raw_tracepoint_args* ctx) {
  run_emit(ctx);
  return 0;
}

/* A TCP socket that no process holds any more reaches its end. One that is still held is
 * left alone: what it has received can still be read. */
SEC("raw_tp/inet_sock_set_state")
int raw_sock_state(struct bpf_raw_tracepoint_args* ctx) {
  if (ctx->args[2] != STATE_CLOSE) return 0;
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  if (!at) return 0;
  if (READ_KERNEL(uint64_t, ctx->args[0], at->sock_flags) & FLAG_BIT_DEAD)
    forget_socket(ctx->args[0]);
  return 0;
}

SEC("raw_tp/sched_process_exit")
int raw_thread_exit(struct bpf_raw_tracepoint_args* ctx) {
  forget_thread(bpf_get_current_pid_tgid());
  return 0;
}

/* ---- Back end: tracepoint ---- */

/*
 * What a program reads of its context must exist in every tracepoint that it is attached
 * to, or attaching fails. So there is one for calls with three arguments and more, and one
 * for those with four, and one for those with six.
 */
struct enter_ctx {
  uint64_t common;
  uint32_t nr;
  uint32_t undefined; /* newer kernels leave here what was on their stack */
  uint64_t args[6];
};

struct exit_ctx {
  uint64_t common;
  uint32_t nr;
  uint32_t undefined;
  int64_t ret;
};

EBPF_INLINE void keep_args(const struct call_args* args) {
  uint64_t thread = bpf_get_current_pid_tgid();
  if (bpf_map_update_elem(&call_args_map, &thread, args, BPF_ANY)) count(COUNTER_SOCKET_MAP_FULL);
}

SEC("tracepoint")
int tp_enter3(struct enter_ctx* ctx) {
  if (!active_config()) return 0;
  struct call_args args = {ctx->nr, {ctx->args[0], ctx->args[1], ctx->args[2], 0, 0, 0}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_enter4(struct enter_ctx* ctx) {
  if (!active_config()) return 0;
  struct call_args args = {ctx->nr, {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], 0, 0}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_enter6(struct enter_ctx* ctx) {
  if (!active_config()) return 0;
  struct call_args args = {
      ctx->nr,
      {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[4], ctx->args[5]}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_exit(struct exit_ctx* ctx) {
  const struct tracer_config* config = active_config();
  if (!config) {
    answer_query();
    return 0;
  }
  uint64_t thread = bpf_get_current_pid_tgid();
  struct call_args* kept = bpf_map_lookup_elem(&call_args_map, &thread);
  if (!kept) return 0;
  struct call_args call = *kept;
  bpf_map_delete_elem(&call_args_map, &thread);
  /* Another number: its own enter was not seen. */
  if (ctx->ret <= 0 || call.nr != ctx->nr) return 0;
  begin_call(ctx, call.nr, call.args, ctx->ret, 0, config);
  return 0;
}

SEC("tracepoint")
int tp_gather(struct exit_ctx* ctx) {
  run_gather(ctx);
  return 0;
}

SEC("tracepoint")
int tp_classify(struct exit_ctx* ctx) {
  run_classify(ctx);
  return 0;
}

SEC("tracepoint")
int tp_classify_more(struct exit_ctx* ctx) {
  run_classify_more(ctx);
  return 0;
}

SEC("tracepoint")
int tp_emit(struct exit_ctx* ctx) {
  run_emit(ctx);
  return 0;
}

/* Where Linux has it (4.16 and later). */
struct sock_state_ctx {
  uint64_t common;
  uint64_t sk;
  int32_t old_state;
  int32_t new_state;
};

SEC("tracepoint")
int tp_sock_state(struct sock_state_ctx* ctx) {
  if (ctx->new_state != STATE_CLOSE) return 0;
  const struct offsets_table* at = LOOKUP_FIRST(offsets_map);
  if (!at) return 0;
  uint64_t sk = ctx->sk;
  if (READ_KERNEL(uint64_t, sk, at->sock_flags) & FLAG_BIT_DEAD) forget_socket(sk);
  return 0;
}

SEC("tracepoint")
int tp_thread_exit(void* ctx) {
  uint64_t thread = bpf_get_current_pid_tgid();
  forget_thread(thread);
  bpf_map_delete_elem(&call_args_map, &thread);
  return 0;
}

/* SPDX-License-Identifier: GPL-2.0 */
/* The attach back end of kernels without raw tracepoints: one tracepoint per system call, at its
 * begin and at its end. */
#ifndef LIBEBPF_BPF_TRACEPOINT_BPF_H
#define LIBEBPF_BPF_TRACEPOINT_BPF_H

#include "bpf/stages.bpf.h"

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

/* Keeps what a call begins with, unless it is the producer's. */
EBPF_INLINE void keep_args(const struct call_args* args) {
  const struct tracer_config* config = config_in_force();
  uint64_t thread = bpf_get_current_pid_tgid();
  if (!config || thread >> 32 == config->producer_tgid || !is_enabled()) return;
  if (bpf_map_update_elem(&call_args_map, &thread, args, BPF_ANY)) count(COUNTER_SOCKET_MAP_FULL);
}

SEC("tracepoint")
int tp_enter3(struct enter_ctx* ctx) {
  struct call_args args = {ctx->nr, {ctx->args[0], ctx->args[1], ctx->args[2], 0, 0, 0}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_enter4(struct enter_ctx* ctx) {
  struct call_args args = {ctx->nr, {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], 0, 0}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_enter6(struct enter_ctx* ctx) {
  struct call_args args = {
      ctx->nr,
      {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[4], ctx->args[5]}};
  keep_args(&args);
  return 0;
}

SEC("tracepoint")
int tp_exit(struct exit_ctx* ctx) {
  struct caller caller;
  if (!is_for_us(&caller)) return 0;
  uint64_t thread = caller.thread;
  struct call_args* kept = bpf_map_lookup_elem(&call_args_map, &thread);
  if (!kept) return 0;
  struct call_args call = *kept;
  bpf_map_delete_elem(&call_args_map, &thread);
  /* Another number: its own enter was not seen. */
  if (ctx->ret <= 0 || call.nr != ctx->nr) return 0;
  begin_call(ctx, &caller, call.nr, call.args, ctx->ret, 0);
  return 0;
}

SEC("tracepoint")
int tp_gather(struct exit_ctx* ctx) { return gather_stage(ctx); }

SEC("tracepoint")
int tp_classify(struct exit_ctx* ctx) { return classify_stage(ctx); }

SEC("tracepoint")
int tp_classify_more(struct exit_ctx* ctx) { return classify_more_stage(ctx); }

SEC("tracepoint")
int tp_emit(struct exit_ctx* ctx) { return emit_stage(ctx); }

/* Where Linux has it (4.16 and later). */
struct sock_state_ctx {
  uint64_t common;
  uint64_t sk;
  int32_t old_state;
  int32_t new_state;
};

SEC("tracepoint")
int tp_sock_state(struct sock_state_ctx* ctx) {
  if (ctx->new_state == STATE_CLOSE) end_socket(ctx->sk);
  return 0;
}

SEC("tracepoint")
int tp_thread_exit(void* ctx) {
  uint64_t thread = bpf_get_current_pid_tgid();
  forget_thread(thread);
  bpf_map_delete_elem(&call_args_map, &thread);
  return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs. Two attach back ends lead to the same stages (bpf/stages.bpf.h); user space loads
 * the programs of one of them. raw         raw_tp/sys_exit alone. On x86-64 the arguments still
 * stand in the saved registers when the call ends (Linux 4.17). Here. tracepoint
 * syscalls/sys_enter_* keeps the arguments until sys_exit_* (Linux 4.14). In bpf/tracepoint.bpf.h.
 *
 * close() needs no hook. A TCP socket says itself when it has ended, which dup and fork
 * cannot confuse. Of the others (UDP, or reset before) user space asks; an address that is
 * used again before that is told by the inode's number.
 *
 * Everything returns 0, always: the traced process must not notice.
 */
#include "bpf/stages.bpf.h"
#include "bpf/tracepoint.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* struct pt_regs of x86-64, from bp to cs. */
struct saved_regs {
  uint64_t bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};
#define SAVED_REGS_OFFSET 32
#define USER_CS_64 0x33
#define INT_0X80 0x80cd /* its two bytes */

/* `at`: of the struct pt_regs. What tells whether a call is traced, and then its arguments. One
 * read brings both, where a read is a call. */
#ifdef EBPF_DIRECT_LOADS
EBPF_INLINE int read_call_number(struct saved_regs* regs, uint64_t at) {
  const struct pt_regs* saved = AS_KERNEL(pt_regs, at);
  regs->cs = saved->cs;
  regs->orig_ax = saved->orig_ax;
  return 1;
}

EBPF_INLINE void read_arguments(struct saved_regs* regs, uint64_t at) {
  const struct pt_regs* saved = AS_KERNEL(pt_regs, at);
  regs->di = saved->di;
  regs->si = saved->si;
  regs->dx = saved->dx;
  regs->r10 = saved->r10;
  regs->r8 = saved->r8;
  regs->r9 = saved->r9;
  regs->cx = saved->cx;
  regs->ip = saved->ip;
}
#else
EBPF_INLINE int read_call_number(struct saved_regs* regs, uint64_t at) {
  return bpf_probe_read_kernel(regs, sizeof(*regs), (const void*)(at + SAVED_REGS_OFFSET)) == 0;
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

SEC("raw_tp/sys_exit")
int raw_exit(struct bpf_raw_tracepoint_args* ctx) {
  int64_t ret = ctx->args[1];
  if (ret <= 0) return 0;
  uint64_t regs_at = ctx->args[0];
  struct saved_regs regs;
  if (!read_call_number(&regs, regs_at)) return 0;
  if (regs.cs != USER_CS_64) {
    bpf_tail_call(ctx, &stages_map, STAGE_COMPAT);
    return 0;
  }
  if (!is_traced_call(regs.orig_ax)) return 0;
  struct caller caller;
  if (!is_for_us(&caller)) return 0;
  read_arguments(&regs, regs_at);
  if (is_int80(&regs)) return 0;
  uint64_t args[6] = {regs.di, regs.si, regs.dx, regs.r10, regs.r8, regs.r9};
  begin_call(ctx, &caller, regs.orig_ax, args, ret, 0);
  return 0;
}

/* The same for 32-bit processes, whose calls have numbers and structs of their own. */
SEC("raw_tp")
int raw_compat(struct bpf_raw_tracepoint_args* ctx) {
  struct saved_regs regs;
  if (bpf_probe_read_kernel(&regs, sizeof(regs), (const void*)(ctx->args[0] + SAVED_REGS_OFFSET)))
    return 0;
  uint64_t args[6] = {(uint32_t)regs.bx, (uint32_t)regs.cx, (uint32_t)regs.dx,
                      (uint32_t)regs.si, (uint32_t)regs.di, (uint32_t)regs.bp};
  uint64_t nr = widen_call((uint32_t)regs.orig_ax, args);
  struct caller caller;
  if (nr != NR_NONE && is_for_us(&caller)) begin_call(ctx, &caller, nr, args, ctx->args[1], 1);
  return 0;
}

SEC("raw_tp")
int raw_gather(struct bpf_raw_tracepoint_args* ctx) { return gather_stage(ctx); }

SEC("raw_tp")
int raw_classify(struct bpf_raw_tracepoint_args* ctx) { return classify_stage(ctx); }

SEC("raw_tp")
int raw_classify_more(struct bpf_raw_tracepoint_args* ctx) { return classify_more_stage(ctx); }

SEC("raw_tp")
int raw_emit(struct bpf_raw_tracepoint_args* ctx) { return emit_stage(ctx); }

SEC("raw_tp/inet_sock_set_state")
int raw_sock_state(struct bpf_raw_tracepoint_args* ctx) {
  if (ctx->args[2] == STATE_CLOSE) end_socket(ctx->args[0]);
  return 0;
}

SEC("raw_tp/sched_process_exit")
int raw_thread_exit(struct bpf_raw_tracepoint_args* ctx) {
  forget_thread(bpf_get_current_pid_tgid());
  return 0;
}

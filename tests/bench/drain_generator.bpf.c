/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Makes events as fast as a process asks for them: what is left of tracing when nothing is
 * traced, from the output on. Maps, output and accounting are those of the tracer; the names of
 * the programs are what ebpf-producer --attach=raw --bpf-file looks for.
 */
#include "tests/bench/drain_generator.h"
#include "bpf/emit.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* struct pt_regs of x86-64, from r10 to orig_ax. */
struct order_regs {
  uint64_t r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};
#define ORDER_REGS_OFFSET 56
#define NR_GETPPID 110

EBPF_INLINE int is_in_charge(void) {
  const uint32_t* role = LOOKUP_FIRST(role_map);
  return role && (*role == ROLE_ONLY || *role == ROLE_FIRST);
}

EBPF_INLINE void prepare(struct scratch* scratch, const struct order_regs* order) {
  struct SK_BPF_DATA* data = &scratch->event.data;
  uint64_t thread = bpf_get_current_pid_tgid();
  data->process_id = thread >> 32;
  data->thread_id = (uint32_t)thread;
  bpf_get_current_comm(data->process_name, sizeof(data->process_name));
  data->socket_id = order->dx;
  data->l7_protocal_hint = SOCK_DATA_HTTP1;
  data->cap_len = order->si >> 32;
  data->syscall_len = data->cap_len;
  scratch->call.captured = data->cap_len;
}

SEC("raw_tp/sys_exit")
int raw_exit(struct bpf_raw_tracepoint_args* ctx) {
  struct order_regs order;
  if (bpf_probe_read_kernel(&order, sizeof(order), (const void*)(ctx->args[0] + ORDER_REGS_OFFSET)))
    return 0;
  if (order.orig_ax != NR_GETPPID || order.di != GENERATOR_MAGIC) return 0;
  const struct tracer_config* config = LOOKUP_FIRST(config_map);
  struct scratch* scratch = this_cpu_scratch();
  if (!config || !config->enabled || !scratch || !is_in_charge()) return 0;
  prepare(scratch, &order);
  struct generated* generated = (struct generated*)&scratch->payload;
  uint32_t count = (uint32_t)order.si;
  for (uint32_t i = 0; i < GENERATOR_EVENTS_MAX; i++) {
    if (i >= count) break;
    uint64_t now_ns = bpf_ktime_get_ns();
    scratch->event.data.timestamp = now_ns;
    scratch->event.data.cap_seq = order.r10 + i;
    generated->clock_ns = now_ns;
    generated->number = order.r10 + i;
    send_event(ctx, scratch, config);
  }
  return 0;
}

#define NOTHING_TO_DO(name) \
  SEC("raw_tp/sys_exit")    \
  int name(struct bpf_raw_tracepoint_args* ctx) { return 0; }
NOTHING_TO_DO(raw_gather)
NOTHING_TO_DO(raw_classify)
NOTHING_TO_DO(raw_classify_more)
NOTHING_TO_DO(raw_emit)
NOTHING_TO_DO(raw_compat)
NOTHING_TO_DO(raw_sock_state)
NOTHING_TO_DO(raw_thread_exit)

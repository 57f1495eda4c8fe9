/* SPDX-License-Identifier: GPL-2.0 */
/* Fills the record of a call, and sends it. */
#ifndef LIBEBPF_BPF_EMIT_BPF_H
#define LIBEBPF_BPF_EMIT_BPF_H

#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"
#include "bpf/sock.bpf.h"

EBPF_INLINE void fill_endpoints(struct SK_BPF_DATA* data, struct socket_entry* entry,
                                const struct call_state* call, const struct offsets_table* at) {
  struct endpoints ends;
  uint64_t* to = (uint64_t*)&data->tuple;
  const uint64_t* known = (const uint64_t*)&entry->tuple;
  if (!entry->has_tuple) {
    read_endpoints(&ends, call, at);
    if (call->protocol == EBPF_IPPROTO_UDP) read_named_peer(&ends, call);
    fill_tuple(&data->tuple, &ends, call->protocol);
    if (call->protocol != EBPF_IPPROTO_TCP) return;
    fill_tuple(&entry->tuple, &ends, call->protocol);
    entry->has_tuple = 1;
    return;
  }
#pragma unroll
  for (int i = 0; i < 5; i++) to[i] = known[i]; /* 38 bytes, and 2 of padding, zero in both */
}

/* Whether this event finds user space asleep, and is the one to wake it. */
EBPF_INLINE int finds_sleeper(const struct tracer_config* config) {
#ifdef EBPF_CONSTANTS
  config = LOOKUP_FIRST(config_map);
  if (!config) return 0;
#endif
  volatile uint32_t* asleep = (volatile uint32_t*)&config->asleep;
  if (!*asleep) return 0;
  *asleep = 0;
  return 1;
}

#ifdef EBPF_RINGS
/* Also wakes user space with every so many events; it looks in by itself otherwise. `emitted`
 * counts the events of this CPU. */
EBPF_INLINE long output_to_ring(const struct kernel_event* event, uint64_t size, uint64_t emitted,
                                const struct tracer_config* config) {
  uint32_t cpu = bpf_get_smp_processor_id();
  void* ring = bpf_map_lookup_elem(&rings_map, &cpu);
  if (!ring) return -1;
  uint64_t flags = BPF_RB_NO_WAKEUP;
  if (finds_sleeper(config) || (emitted & config->wake_mask) == 0) flags = BPF_RB_FORCE_WAKEUP;
  return bpf_ringbuf_output(ring, (void*)&event->lost, size, flags);
}
#endif

/* A perf buffer wakes user space by itself when much is unread, and cannot be told to. A sleeper is
 * woken through another one, behind the event. */
EBPF_INLINE long output(void* ctx, const struct kernel_event* event, uint64_t size,
                        uint64_t emitted, const struct tracer_config* config) {
#ifdef EBPF_RINGS
  if (config->transport == EVENTS_IN_RINGS) return output_to_ring(event, size, emitted, config);
#endif
  long result =
      bpf_perf_event_output(ctx, &events_map, BPF_F_CURRENT_CPU, (void*)&event->lost, size);
  if (finds_sleeper(config)) {
    uint64_t ring_it = 0;
    bpf_perf_event_output(ctx, &bell_map, BPF_F_CURRENT_CPU, &ring_it, sizeof(ring_it));
  }
  return result;
}

EBPF_INLINE void send_event(void* ctx, struct scratch* scratch,
                            const struct tracer_config* config) {
  struct kernel_event* event = &scratch->event;
  struct counters* counters = LOOKUP_FIRST(counters_map);
  if (!counters) return;
  /* Atomic, like all of them: this program can be preempted. */
  __sync_fetch_and_add(&counters->of[COUNTER_EMITTED], 1);
  event->lost = (uint32_t)counters->of[COUNTER_LOST];
  uint64_t captured = *(volatile uint32_t*)&scratch->call.captured;
  /* At most 16384 by construction; the mask lets the verifier see at most 32767, which
   * still is inside of the payload arrays. The header makes the size positive. */
  captured &= 2 * EBPF_CAP_BYTES_MAX - 1;
  uint64_t size = sizeof(*event) - KERNEL_EVENT_NOT_SENT + captured;
  if (output(ctx, event, size, counters->of[COUNTER_EMITTED], config) == 0) return;
  __sync_fetch_and_add(&counters->of[COUNTER_LOST], 1);
  uint32_t lane = 0;
  if (config->lane_count) lane = ebpf_lane_of(event->data.socket_id, config->lane_count);
  uint64_t* lane_lost = bpf_map_lookup_elem(&lane_lost_map, &lane);
  if (lane_lost) __sync_fetch_and_add(lane_lost, 1);
}

/* `entry`: the socket's, if that is known already. */
EBPF_INLINE void emit(void* ctx, struct scratch* scratch, const struct tracer_config* config,
                      const struct offsets_table* at, struct socket_entry* entry) {
  struct call_state* call = &scratch->call;
  uint64_t inferred = call->inferred;
  if (!entry) {
    int is_stale;
    entry = find_socket(call, &is_stale);
    if (!entry) entry = add_socket(call, is_stale, config);
    if (!entry) return;
  }
  entry->state = call->state;
  entry->last_use_ns = call->start_ns;

  struct SK_BPF_DATA* data = &scratch->event.data;
  uint64_t thread = call->thread;
  data->process_id = thread >> 32;
  data->thread_id = (uint32_t)thread;
  read_current_comm(data->process_name, call->task);
  fill_endpoints(data, entry, call, at);
  data->socket_id = entry->socket_id;
  data->l7_protocal_hint = call->state.protocol;
  data->msg_type = INFER_MSG_TYPE(inferred);
  data->need_reconfirm = call->state.is_likely;
  data->tcp_seq = call->protocol == EBPF_IPPROTO_TCP ? first_byte_seq(call, at) : 0;
  data->syscall_trace_id_call = trace_id_of(thread, entry->socket_id, call->direction, config);
  data->timestamp = call->start_ns;
  data->direction = call->direction;
  data->syscall_len = call->moved;
  data->cap_len = call->captured;
  data->cap_seq = take_cap_seq(entry, call->sk);
  /* Padding and cap_data stay zero: nothing ever writes there. */
  send_event(ctx, scratch, config);
}

#endif

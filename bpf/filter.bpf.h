/* SPDX-License-Identifier: GPL-2.0 */
/* Whose traffic is not wanted: by process id, thread name and port. */
#ifndef LIBEBPF_BPF_FILTER_BPF_H
#define LIBEBPF_BPF_FILTER_BPF_H

#include "bpf/maps.bpf.h"
#include "bpf/sock.bpf.h"

/* A verdict of a filter map: denied, or not among those that are allowed. */
EBPF_INLINE int is_refused(const uint32_t* verdict, uint32_t only_allowed) {
  if (verdict) return *verdict == FILTER_DENY;
  return only_allowed != 0;
}

/* Returns 0, and counts, if the current process is filtered. */
EBPF_INLINE int is_process_wanted(uint64_t thread, const struct tracer_config* config) {
  uint32_t filters = config->filters;
  if (filters & (FILTER_PIDS | FILTER_ONLY_PIDS)) {
    uint32_t pid = thread >> 32;
    if (is_refused(bpf_map_lookup_elem(&pid_filter_map, &pid), filters & FILTER_ONLY_PIDS)) {
      count(COUNTER_FILTERED_PID);
      return 0;
    }
  }
  if (filters & (FILTER_NAMES | FILTER_ONLY_NAMES)) {
    struct comm name = {};
    bpf_get_current_comm(&name, sizeof(name));
    if (is_refused(bpf_map_lookup_elem(&name_filter_map, &name), filters & FILTER_ONLY_NAMES)) {
      count(COUNTER_FILTERED_NAME);
      return 0;
    }
  }
  return 1;
}

/* Bit 0: allowed, bit 1: denied. */
EBPF_INLINE uint32_t port_verdict(uint16_t port) {
  uint32_t index = port >> 6;
  const struct port_filter* filter = bpf_map_lookup_elem(&port_filter_map, &index);
  if (!filter) return 0;
  uint32_t bit = port & 63;
  return (uint32_t)(filter->allowed >> bit & 1) | (uint32_t)(filter->denied >> bit & 1) << 1;
}

/* Returns 0, and counts, if a port of the call is denied, or none is allowed. */
EBPF_INLINE int are_ports_wanted(const struct call_state* call, const struct offsets_table* at) {
  struct endpoints ends = {.family = call->family};
  ends.rport = __builtin_bswap16(READ_KERNEL(uint16_t, call->sk, at->sock_dport));
  ends.lport = READ_KERNEL(uint16_t, call->sk, at->sock_num);
  if (call->protocol == EBPF_IPPROTO_UDP) read_named_peer(&ends, call);
  uint32_t verdict = port_verdict(ends.lport);
  if (ends.rport) verdict |= port_verdict(ends.rport);
  if (verdict == 1) return 1;
  count(COUNTER_FILTERED_PORT);
  return 0;
}

#endif

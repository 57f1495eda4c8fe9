/* SPDX-License-Identifier: GPL-2.0 */
/* Decides which protocol a gathered call speaks, and so whether it becomes a record. */
#ifndef LIBEBPF_BPF_CLASSIFY_BPF_H
#define LIBEBPF_BPF_CLASSIFY_BPF_H

#include "bpf/identity.bpf.h"
#include "bpf/maps.bpf.h"

/* Returns 0 if the call is not captured. A socket that was recognised before is captured
 * in any case, whatever these bytes look like. */
EBPF_INLINE int classify(struct scratch* scratch, const struct tracer_config* config) {
  struct call_state* call = &scratch->call;
  int is_stale;
  const struct socket_entry* entry = find_socket(call, &is_stale);
  struct infer_input input = {
      .window = &scratch->payload,
      .count = call->captured < INFER_WINDOW_BYTES ? call->captured : INFER_WINDOW_BYTES,
      .total = call->moved,
      .is_tcp = call->protocol == EBPF_IPPROTO_TCP,
  };
  uint64_t result = infer(&input, entry ? entry->l7_protocol : 0);
  call->inferred = result;
  return result || entry || config->capture_unknown;
}

#endif

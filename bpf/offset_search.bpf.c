// SPDX-License-Identifier: GPL-2.0
/*
 * Copies kernel memory to user space, for the offset search on kernels without BTF.
 *
 * That is a powerful thing to have around, so it is bound in three ways. The program hangs
 * on a software perf event (page faults) that the searching thread opened for itself: the
 * kernel runs it for that one thread and for no other, and no other thread pays for it.
 * Loading it takes root, or CAP_BPF and CAP_PERFMON. It lives as long as the search, which closes
 * it when it ends.
 *
 * It reads with bpf_probe_read_kernel and nothing else (libbpf turns it into bpf_probe_read
 * where the kernel lacks it): an address that cannot be read gives an error, never a fault.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/offset_search_abi.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct offset_search_request);
} request_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct offset_search_answer);
} answer_map SEC(".maps");

SEC("perf_event")
int copy_kernel_memory(void* ctx) {
  __u32 zero = 0;
  struct offset_search_request* request = bpf_map_lookup_elem(&request_map, &zero);
  struct offset_search_answer* answer = bpf_map_lookup_elem(&answer_map, &zero);
  if (!request || !answer) return 0;

  __u64 address = request->address;
  __u32 piece_count = request->piece_count;
  answer->task = bpf_get_current_task();
  /*
   * Unrolled: Linux 4.14 takes no loop. Its verifier also walks every combination of known
   * values that a register may have, so each result goes straight into the map; gathered
   * in a bit mask, sixteen of them would be 65,536 paths.
   */
#pragma unroll
  for (__u32 i = 0; i < OFFSET_SEARCH_PIECES; i++) {
    __u32 at = i * OFFSET_SEARCH_PIECE_BYTES;
    if (i < piece_count)
      answer->errors[i] = bpf_probe_read_kernel(answer->bytes + at, OFFSET_SEARCH_PIECE_BYTES,
                                                (void*)(address + at));
  }
  answer->sequence = request->sequence;
  return 0;
}

char LICENSE[] SEC("license") = "GPL";

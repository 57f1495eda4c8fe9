/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Types, helpers and small tools of every BPF program here. Only what Linux 4.14 has is
 * used, with one exception: bpf_probe_read_kernel and _user, which libbpf turns into
 * bpf_probe_read where the kernel lacks them.
 */
#ifndef LIBEBPF_BPF_COMMON_BPF_H
#define LIBEBPF_BPF_COMMON_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/kernel_abi.h"

#define EBPF_INLINE static inline __attribute__((always_inline))

#define EBPF_IPPROTO_TCP 6
#define EBPF_IPPROTO_UDP 17

/* First address that is not a user address (x86-64, four page table levels). */
#define USER_ADDRESS_END 0x00007ffffffff000ull

/* The compiler forgets what it knows about a value, and so cannot fold a check away. */
#define FORGET(value) asm volatile("" : "+r"(value))

/*
 * A size in 1..limit, limit a power of two, in the form that the 4.14 verifier follows.
 * It learns nothing from `size != 0`, so the lower bound must come from arithmetic:
 * size - 1 is masked to 0..limit-1, and adding 1 gives 1..limit. The caller has made sure
 * that the size is in this range already; then the value does not change.
 */
#define BOUND_SIZE(size, limit) \
  ({                            \
    uint64_t bound_ = (size);   \
    FORGET(bound_);             \
    bound_ -= 1;                \
    FORGET(bound_);             \
    bound_ &= (limit)-1;        \
    bound_ += 1;                \
    bound_;                     \
  })

/* Kernel memory at `base + offset`; 0 where it cannot be read. */
#define READ_KERNEL(type, base, offset)                                               \
  ({                                                                                  \
    type value_ = 0;                                                                  \
    bpf_probe_read_kernel(&value_, sizeof(value_), (const void*)((base) + (offset))); \
    value_;                                                                           \
  })

/*
 * User memory. Kernels before 5.5 have one probe read for both kinds of memory, so the
 * range is checked first: nothing outside of user addresses is ever read, whatever the
 * process passed. `size` is at most EBPF_CAP_BYTES_MAX.
 */
EBPF_INLINE int read_user(void* to, uint32_t size, uint64_t from) {
  if (from > USER_ADDRESS_END - EBPF_CAP_BYTES_MAX && from > USER_ADDRESS_END - size) return -14;
  return bpf_probe_read_user(to, size, (const void*)from);
}

#endif

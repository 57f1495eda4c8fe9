/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Types, helpers and small tools of every BPF program here. Only what Linux 4.14 has is
 * used, with one exception: bpf_probe_read_kernel and _user, which libbpf turns into
 * bpf_probe_read where the kernel lacks them.
 */
#ifndef LIBEBPF_BPF_COMMON_BPF_H
#define LIBEBPF_BPF_COMMON_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel_abi.h"
#include "bpf/kernel_types.bpf.h"

#define EBPF_INLINE static inline __attribute__((always_inline))

/* A function of its own, where programs may be large; inline elsewhere. */
#ifdef EBPF_LARGE_PROGRAMS
#define EBPF_APART static __attribute__((noinline))
#else
#define EBPF_APART EBPF_INLINE
#endif

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

/*
 * Kernel memory at `base + offset`; 0 where it cannot be read.
 *
 * EBPF_DIRECT_LOADS, for Linux 6.2 and later: a load in place of a call. bpf_rdonly_cast gives an
 * address the type of a kernel struct, and what is loaded through it may fault without harm. Only
 * the first eight bytes of that struct are looked at: they are an integer on every kernel, and the
 * verifier lets any part of an integer be read. What every call passes through is read by its own
 * type, see bpf/kernel_types.bpf.h: one instruction in place of seven.
 */
#ifdef EBPF_DIRECT_LOADS
#define READ_KERNEL(type, base, offset)                                     \
  (*(const volatile type*)bpf_rdonly_cast((const void*)((base) + (offset)), \
                                          bpf_core_type_id_kernel(struct timespec64)))
#else
#define READ_KERNEL(type, base, offset)                                               \
  ({                                                                                  \
    type value_ = 0;                                                                  \
    bpf_probe_read_kernel(&value_, sizeof(value_), (const void*)((base) + (offset))); \
    value_;                                                                           \
  })
#endif

/* Sixteen bytes of it; `to` holds zeros. */
EBPF_INLINE void read_kernel_pair(uint64_t* to, uint64_t from) {
#ifdef EBPF_DIRECT_LOADS
  to[0] = READ_KERNEL(uint64_t, from, 0);
  to[1] = READ_KERNEL(uint64_t, from, 8);
#else
  bpf_probe_read_kernel(to, 16, (const void*)from);
#endif
}

EBPF_INLINE uint64_t current_task(void) {
#ifdef EBPF_DIRECT_LOADS
  return (uint64_t)bpf_get_current_task_btf();
#else
  return bpf_get_current_task();
#endif
}

/* The current thread, tgid << 32 | tid. `task`: its current_task(), used where loads are cheaper
 * than calls. */
EBPF_INLINE uint64_t thread_of(uint64_t task) {
#ifdef EBPF_DIRECT_LOADS
  const struct task_struct* current = (const struct task_struct*)task;
  return (uint64_t)(uint32_t)current->tgid << 32 | (uint32_t)current->pid;
#else
  return bpf_get_current_pid_tgid();
#endif
}

/* Name of the current thread, padded with zeros, into an aligned place. */
EBPF_INLINE void read_current_comm(uint8_t* to, uint64_t task) {
#ifdef EBPF_DIRECT_LOADS
  read_kernel_pair((uint64_t*)to, task + bpf_core_field_offset(struct task_struct, comm));
#else
  bpf_get_current_comm(to, EBPF_COMM_BYTES);
#endif
}

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

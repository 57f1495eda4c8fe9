/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Atomic access to plain integers in shared memory, for C11 and C++20 alike and
 * for memory that is mapped read-only (std::atomic<const T> has no load).
 *
 * Every call names its memory order; the fields in ring_layout.h say who pairs
 * with whom. Fences are avoided on purpose: ThreadSanitizer does not see them.
 */
#ifndef LIBEBPF_SHM_ATOMIC_H
#define LIBEBPF_SHM_ATOMIC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EBPF_SHM_ATOMIC(bits)                                                                      \
  static inline uint##bits##_t shm_load_relaxed_u##bits(const uint##bits##_t* p) {                 \
    return __atomic_load_n(p, __ATOMIC_RELAXED);                                                   \
  }                                                                                                \
  static inline uint##bits##_t shm_load_acquire_u##bits(const uint##bits##_t* p) {                 \
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);                                                   \
  }                                                                                                \
  static inline uint##bits##_t shm_load_seq_cst_u##bits(const uint##bits##_t* p) {                 \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  static inline void shm_store_relaxed_u##bits(uint##bits##_t* p, uint##bits##_t v) {              \
    __atomic_store_n(p, v, __ATOMIC_RELAXED);                                                      \
  }                                                                                                \
  static inline void shm_store_release_u##bits(uint##bits##_t* p, uint##bits##_t v) {              \
    __atomic_store_n(p, v, __ATOMIC_RELEASE);                                                      \
  }                                                                                                \
  static inline void shm_store_seq_cst_u##bits(uint##bits##_t* p, uint##bits##_t v) {              \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  static inline uint##bits##_t shm_exchange_seq_cst_u##bits(uint##bits##_t* p, uint##bits##_t v) { \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                            \
  }

EBPF_SHM_ATOMIC(32)
EBPF_SHM_ATOMIC(64)

#undef EBPF_SHM_ATOMIC

#ifdef __cplusplus
}
#endif
#endif

// SPDX-License-Identifier: Apache-2.0
// The Atomics of lane_protocol.h and the words of slot_protocol.h: thin names for
// shm_atomic.h and std::atomic.
#pragma once

#include <atomic>

#include "libebpf/shm_atomic.h"

namespace ebpf {

struct ShmAtomics {
  static void store_relaxed(uint32_t* word, uint32_t v) { shm_store_relaxed_u32(word, v); }
  static void store_relaxed(uint64_t* word, uint64_t v) { shm_store_relaxed_u64(word, v); }
  static void store_release(uint32_t* word, uint32_t v) { shm_store_release_u32(word, v); }
  static void store_release(uint64_t* word, uint64_t v) { shm_store_release_u64(word, v); }
  static void store_seq_cst(uint64_t* word, uint64_t v) { shm_store_seq_cst_u64(word, v); }

  // Every store before it is visible before any load after it is made.
  static void full_barrier() {
#if defined(__SANITIZE_THREAD__)
    // ThreadSanitizer does not know fences. A locked instruction is one, where it runs.
    static std::atomic<uint32_t> word{0};
    word.exchange(0, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  }
};

// A word of a control page.
class ControlWord {
 public:
  explicit ControlWord(uint32_t* word) : word_(word) {}
  uint32_t load_seq_cst() const { return shm_load_seq_cst_u32(word_); }
  uint32_t exchange_seq_cst(uint32_t v) const { return shm_exchange_seq_cst_u32(word_, v); }

 private:
  uint32_t* word_;
};

// A word between two threads of the producer.
template <class T>
class ThreadWord {
 public:
  explicit ThreadWord(std::atomic<T>& word) : word_(&word) {}
  T load_relaxed() const { return word_->load(std::memory_order_relaxed); }
  T load_seq_cst() const { return word_->load(std::memory_order_seq_cst); }
  void store_seq_cst(T value) const { word_->store(value, std::memory_order_seq_cst); }

 private:
  std::atomic<T>* word_;
};

}  // namespace ebpf

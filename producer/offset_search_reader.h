// SPDX-License-Identifier: Apache-2.0
// KernelReader: windows of kernel memory for the offset search, through the BPF program in
// bpf/offset_search.bpf.c. It exists only while a search runs.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "bpf/offset_search_abi.h"
#include "libebpf/detail/result.h"
#include "producer/log.h"

struct bpf_object;
struct bpf_link;

namespace ebpf::search {

// The bytes that stood at `address` when it was read; as many as could be read, up to the
// first that could not.
struct Window {
  uint64_t address = 0;
  std::vector<uint8_t> bytes;

  // Whether a T stands at `offset` and was read; then it is stored in *value.
  template <class T>
  bool get(uint32_t offset, T* value) const {
    if (offset + sizeof(T) > bytes.size()) return false;
    std::memcpy(value, bytes.data() + offset, sizeof(T));
    return true;
  }
  template <class T>
  bool holds(uint32_t offset, T expected) const {
    T value;
    return get(offset, &value) && std::memcmp(&value, &expected, sizeof(T)) == 0;
  }
};

// Used by the thread that opened it, and only by that one.
class KernelReader {
 public:
  // Loads the program and binds it to the calling thread. The error names the step.
  static Result<std::unique_ptr<KernelReader>> open(const LogSink& log);
  ~KernelReader();

  // An error is a failure of the machinery; what cannot be read makes the window shorter.
  Result<Window> read(uint64_t address, uint32_t size_bytes);

  // The task_struct of the calling thread.
  uint64_t task() const { return task_; }

  // Whether `value` may be the address of a kernel object: aligned, and in the half of the
  // address space, canonical on this machine, that task() is in. Nothing else is read.
  bool is_pointer(uint64_t value) const;

 private:
  struct ObjectDeleter {
    void operator()(bpf_object* object) const;
  };
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };

  KernelReader() = default;
  Result<> load(const LogSink& log);
  Result<> attach();
  Result<> ask(uint64_t address, uint32_t piece_count);

  std::unique_ptr<bpf_object, ObjectDeleter> object_;
  std::unique_ptr<bpf_link, LinkDeleter> link_;  // owns the perf event
  int request_fd_ = -1;                          // owned by object_
  int answer_fd_ = -1;
  uint32_t sequence_ = 0;
  uint64_t task_ = 0;
  char* page_ = nullptr;  // touching it after MADV_DONTNEED is the page fault
  offset_search_answer answer_;
};

}  // namespace ebpf::search

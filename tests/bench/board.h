// SPDX-License-Identifier: Apache-2.0
// What the processes of one run tell each other: one anonymous shared mapping, made before
// they are forked. It carries no records.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <new>
#include <string>

#include "libebpf/detail/result.h"

namespace ebpf::bench {

constexpr uint32_t kConsumersMax = 8;
constexpr uint32_t kSamplesMax = 65536;
constexpr uint32_t kPhasesMax = 64;
constexpr size_t kTextBytes = 256;

// Of one consumer, who writes it all.
struct alignas(64) Seat {
  std::atomic<uint64_t> position{0};  // the record that it looks at next; paces the producer
  alignas(64) std::atomic<uint32_t> ready{0};
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t errors = 0;  // records that were not what was sent
  uint64_t last_ns = 0;
  uint32_t sample_count = 0;
  char failure[kTextBytes] = {};
  uint32_t samples_ns[kSamplesMax];  // one-way latencies
};

struct Board {
  std::atomic<uint32_t> go{0};    // set by the parent once everybody is ready
  std::atomic<uint32_t> over{0};  // set by the producer behind the last record
  std::atomic<uint32_t> writer_ready{0};
  std::atomic<uint32_t> failed{0};
  alignas(64) uint64_t start_ns = 0;
  uint64_t end_ns = 0;
  uint64_t published = 0;
  uint32_t phase_count = 0;
  double ring_ns[kPhasesMax];  // CPU time per record, by phase
  double memcpy_ns[kPhasesMax];
  char failure[kTextBytes] = {};
  Seat seats[kConsumersMax];

  void fail(char (&where)[kTextBytes], const std::string& why) {
    std::snprintf(where, sizeof where, "%s", why.c_str());
    failed.store(1);
  }
};

class SharedBoard {
 public:
  static Result<SharedBoard> create() {
    void* at =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return errno_error("cannot map memory for results");
    return SharedBoard(new (at) Board);
  }
  SharedBoard(SharedBoard&& other) noexcept : board_(other.board_) { other.board_ = nullptr; }
  SharedBoard& operator=(SharedBoard&&) = delete;
  ~SharedBoard() {
    if (board_ != nullptr) munmap(board_, sizeof(Board));
  }
  Board& operator*() const { return *board_; }
  Board* operator->() const { return board_; }

 private:
  explicit SharedBoard(Board* board) : board_(board) {}
  Board* board_;
};

}  // namespace ebpf::bench

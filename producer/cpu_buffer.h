// SPDX-License-Identifier: Apache-2.0
// One CPU's events as the kernel left them, whichever kind of buffer they lie in.
#pragma once

#include <variant>

#include "producer/perf_cpu.h"
#include "producer/ring_cpu.h"

namespace ebpf {

// The functions are those of PerfCpu.
class CpuBuffer {
  // Two kinds: a branch, where std::visit would go through a table.
  template <class Function>
  auto call(Function&& function) {
    if (auto* ring = std::get_if<RingCpu>(&buffer_)) return function(*ring);
    return function(*std::get_if<PerfCpu>(&buffer_));
  }
  template <class Function>
  auto call(Function&& function) const {
    if (const auto* ring = std::get_if<RingCpu>(&buffer_)) return function(*ring);
    return function(*std::get_if<PerfCpu>(&buffer_));
  }

 public:
  explicit CpuBuffer(const PerfCpu& perf) : buffer_(perf) {}
  explicit CpuBuffer(const RingCpu& ring) : buffer_(ring) {}

  int cpu() const {
    return call([](auto& buffer) { return buffer.cpu(); });
  }
  void snapshot() {
    call([](auto& buffer) { buffer.snapshot(); });
  }
  uint64_t unread_bytes() const {
    return call([](auto& buffer) { return buffer.unread_bytes(); });
  }
  size_t data_bytes() const {
    return call([](auto& buffer) { return buffer.data_bytes(); });
  }
  bool peek(EventView* event) {
    return call([event](auto& buffer) { return buffer.peek(event); });
  }
  void pop() {
    call([](auto& buffer) { buffer.pop(); });
  }
  void release() {
    call([](auto& buffer) { buffer.release(); });
  }
  uint64_t bad_records() const {
    return call([](auto& buffer) { return buffer.bad_records(); });
  }

 private:
  std::variant<PerfCpu, RingCpu> buffer_;
};

}  // namespace ebpf

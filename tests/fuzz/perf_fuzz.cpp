// SPDX-License-Identifier: Apache-2.0
// The walk over a CPU's perf buffer, as the drain does it. An input is where the buffer's
// tail stands (2 bytes), how far the head is ahead (2 bytes), and what is in between.
#include <memory>
#include <vector>

#include "bpf/kernel_abi.h"
#include "producer/perf_cpu.h"
#include "tests/fuzz/fuzz_support.h"

namespace ebpf::fuzz {
namespace {

constexpr size_t kPage = 4096;

void take(const EventView& event) {
  must(event.size() <= kPage, "an event lies within the buffer");
  std::vector<uint8_t> copy(event.size());
  event.copy(copy.data(), 0, event.size());
  for (uint32_t at = 0; at < event.size(); at += 97) {
    const uint32_t count = std::min<uint32_t>(64, event.size() - at);
    const uint8_t* place = event.in_place(at, count);
    must(place == nullptr || std::memcmp(place, copy.data() + at, count) == 0,
         "the same bytes in place");
  }
}

}  // namespace
}  // namespace ebpf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ebpf::fuzz;
  // The buffer ends where its memory does.
  const std::unique_ptr<uint64_t[]> memory(new uint64_t[2 * kPage / sizeof(uint64_t)]());
  auto* meta = reinterpret_cast<perf_event_mmap_page*>(memory.get());
  auto* bytes = reinterpret_cast<uint8_t*>(memory.get()) + kPage;
  Input input(data, size);
  const uint64_t tail = input.take<uint16_t>() & ~7u;
  meta->data_tail = tail;
  meta->data_head = tail + input.take<uint16_t>();
  const std::string content = input.take_bytes(kPage);
  for (size_t i = 0; i < content.size(); ++i) {
    bytes[(tail + i) % kPage] = static_cast<uint8_t>(content[i]);
  }
  ebpf::PerfCpu cpu(0, meta, kPage, kPage);
  cpu.snapshot();
  ebpf::EventView event;
  for (size_t events = 0; cpu.peek(&event); ++events) {
    must(events <= kPage / 8, "the walk ends");
    take(event);
    cpu.pop();
  }
  cpu.release();
  must(meta->data_tail == meta->data_head, "all of it is given back");
  return 0;
}

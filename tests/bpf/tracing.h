// SPDX-License-Identifier: Apache-2.0
// A tracer that captures what a child process does, for tests on the running kernel.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "producer/kernel_tracer.h"

namespace ebpf::test {

struct Event {
  SK_BPF_DATA data;
  std::string payload;
  uint32_t lost = 0;  // of the event's CPU, as the programs told
  int cpu = 0;
};

// The ways to trace that must all give the same records.
struct Variant {
  const char* name;
  AttachMode attach;
  bool floor;  // the object for Linux 4.14 instead of the best one
  TransportMode transport = TransportMode::kPerf;
  uint32_t copies = 0;  // of the programs: see TracerOptions
};
// Those that this kernel is too old for are left out.
std::vector<Variant> all_variants();
// Without the tracepoints, which take the kernel more than a second to detach.
std::vector<Variant> quick_variants();
void PrintTo(const Variant& variant, std::ostream* out);

// The name that small_options() gives to the calling thread, and so to whatever it starts.
const std::string& own_name();

// Only threads that have own_name() are captured: what else the machine does, other tests
// among it, neither fills the perf buffers nor shows in the counters.
TracerOptions small_options(const Variant& variant);

class Tracing {
 public:
  // Null where this kernel refuses BPF; *why says what it said.
  static std::unique_ptr<Tracing> open(const TracerOptions& options, std::string* why);

  KernelTracer& tracer() { return *tracer_; }

  // Runs `body` in a child process while the tracer is on, and fails the test if it returns
  // anything but 0. Returns the child's pid.
  pid_t run(const std::function<int()>& body);

  // What the buffers hold of that process, in time order; everything else is thrown
  // away. 0: of all processes that have own_name().
  std::vector<Event> take(pid_t pid);

  // run(), then take().
  std::vector<Event> trace(const std::function<int()>& body);

 private:
  std::unique_ptr<KernelTracer> tracer_;
};

// Like trace(), but for the records of all processes, drained while the child runs, as the
// producer does it, sweep included: for more of them than the perf buffers hold. `lost` tells
// how many were lost all the same.
std::vector<Event> stream(Tracing& tracing, const std::function<int()>& body, uint64_t* lost);

// Opens tracing or skips the test with the reason; under CI a refusal is a failure.
#define EBPF_OPEN_TRACING(tracing, options)                                \
  std::string why_not_##tracing;                                           \
  auto tracing = ::ebpf::test::Tracing::open(options, &why_not_##tracing); \
  if (!tracing) {                                                          \
    if (std::getenv("CI")) FAIL() << why_not_##tracing;                    \
    GTEST_SKIP() << why_not_##tracing;                                     \
  }

// Sockets in the tracer's map.
uint64_t sockets_in_map(Tracing& tracing);

// The same, when those that have ended are gone. The kernel may still be busy with some of them,
// and the last word on others comes from the sweep; so it waits until no more than `left`
// are there, and gives up after a while.
uint64_t sockets_in_map_at_last(Tracing& tracing, uint64_t left);

// So many may stay for longer: sockets of others, which nobody traces, live at their addresses.
constexpr uint64_t kSocketsThatMayStay = 50;

// The events of one direction.
std::vector<Event> of_direction(const std::vector<Event>& events, uint8_t direction);

}  // namespace ebpf::test

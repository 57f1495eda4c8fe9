// SPDX-License-Identifier: Apache-2.0
// Accounting when the perf buffer is too small: emitted = received + lost, exactly.
#include <sched.h>

#include <numeric>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

class LostEvents : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(BothObjects, LostEvents, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

// All of it through one CPU's buffer, however many there are.
void stay_on_this_cpu() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  require(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
}

int flood(int count) {
  Pair pairs[8];
  for (Pair& pair : pairs) pair = connect_tcp(Family::kInet);
  for (int i = 0; i < count; i++) {
    Pair& pair = pairs[i % 8];
    send_all(pair.client, "GET /flood HTTP/1.1\r\n\r\n" + std::string(400, 'x'));
    receive(pair.server);
  }
  return 0;
}

TEST_P(LostEvents, AreCountedExactly) {
  TracerOptions options = small_options(GetParam());
  options.perf_pages = 1;
  options.lane_count = 4;
  EBPF_OPEN_TRACING(tracing, options);
  constexpr int kCalls = 500;
  uint64_t received = 0;
  uint64_t told = 0;
  stay_on_this_cpu();  // and so do the children
  for (int round = 0; round < 3; round++) {
    tracing->run([&] { return flood(kCalls); });
    const auto events = tracing->take(0);
    received += events.size();
    const KernelCounters counters = tracing->tracer().counters();
    const auto by_lane = tracing->tracer().lost_by_lane();
    EXPECT_EQ(counters[COUNTER_EMITTED], 2u * kCalls * (round + 1));
    EXPECT_GT(counters[COUNTER_LOST], 0u);
    EXPECT_EQ(counters[COUNTER_EMITTED], received + counters[COUNTER_LOST]);
    EXPECT_EQ(std::accumulate(by_lane.begin(), by_lane.end(), uint64_t{0}), counters[COUNTER_LOST]);
    for (const Event& event : events) told = std::max<uint64_t>(told, event.lost);
  }
  // The next event that comes through tells what was lost before it on its CPU.
  EXPECT_GT(told, 0u);
}

TEST_P(LostEvents, LeaveTheirNumberBehind) {
  TracerOptions options = small_options(GetParam());
  options.perf_pages = 1;
  EBPF_OPEN_TRACING(tracing, options);
  stay_on_this_cpu();
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    for (int i = 0; i < 100; i++) send_all(pair.client, "GET / HTTP/1.1\r\n\r\n");
    return 0;
  });
  ASSERT_LT(events.size(), 100u);
  for (size_t i = 1; i < events.size(); i++) {
    EXPECT_GT(events[i].data.cap_seq, events[i - 1].data.cap_seq);
  }
}

}  // namespace
}  // namespace ebpf::test

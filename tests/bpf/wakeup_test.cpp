// SPDX-License-Identifier: Apache-2.0
// Who sleeps is woken by the next event; who does not is left alone.
#include <poll.h>
#include <sys/epoll.h>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

class Wakeup : public testing::TestWithParam<Variant> {
 protected:
  static void send_one(Tracing& tracing) {
    tracing.run([] {
      Pair pair = connect_tcp(Family::kInet);
      send_all(pair.client, "GET / HTTP/1.1\r\n\r\n");
      return 0;
    });
  }
  // Waits, if it has to, and takes note of it.
  static bool is_woken(Tracing& tracing, int timeout_ms) {
    const int fd = tracing.tracer().epoll_fd();
    pollfd ready = {fd, POLLIN, 0};
    if (poll(&ready, 1, timeout_ms) != 1) return false;
    epoll_event rang[8];
    epoll_wait(fd, rang, 8, 0);  // it may find nothing: a perf buffer says it once
    return true;
  }
};
INSTANTIATE_TEST_SUITE_P(BothObjects, Wakeup, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

constexpr int kLongMs = 10'000;

TEST_P(Wakeup, AnEventWakesASleeperOnce) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  KernelTracer& tracer = tracing->tracer();
  ASSERT_TRUE(tracer.can_sleep());
  tracer.set_asleep(true);
  send_one(*tracing);
  EXPECT_TRUE(is_woken(*tracing, kLongMs));
  EXPECT_EQ(tracing->take(0).size(), 1u) << "and is there by then";
  // Nobody has said that he sleeps again.
  send_one(*tracing);
  EXPECT_FALSE(is_woken(*tracing, 0));
  EXPECT_EQ(tracing->take(0).size(), 1u);
  tracer.set_asleep(true);
  send_one(*tracing);
  EXPECT_TRUE(is_woken(*tracing, kLongMs));
}

TEST_P(Wakeup, WhoIsAwakeIsLeftAlone) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  KernelTracer& tracer = tracing->tracer();
  tracer.set_asleep(true);
  tracer.set_asleep(false);
  send_one(*tracing);
  EXPECT_FALSE(is_woken(*tracing, 0));
  EXPECT_EQ(tracing->take(0).size(), 1u);
}

}  // namespace
}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
#include "producer/drain_pace.h"

#include <gtest/gtest.h>

namespace ebpf {
namespace {

constexpr uint64_t kStartNs = 1'000'000'000'000;
constexpr PassResult kNothing = {};
constexpr PassResult kYoung = {0, true, false};
constexpr PassResult kTaken = {5, false, false};
constexpr PassResult kTakenAndYoung = {5, true, false};
constexpr PassResult kCrowded = {5, true, true};

class DrainPaceTest : public testing::TestWithParam<DrainTiming> {
 protected:
  const DrainTiming timing_ = GetParam();
  DrainPace pace_{timing_};
};
INSTANTIATE_TEST_SUITE_P(Modes, DrainPaceTest, testing::Values(kDefaultTiming, kLowLatencyTiming),
                         [](const auto& tested) {
                           return std::string(tested.index == 0 ? "Default" : "LowLatency");
                         });

TEST_P(DrainPaceTest, StaysAwakeWhileEventsFlow) {
  uint64_t now_ns = kStartNs;
  EXPECT_FALSE(pace_.wants_sleep(kTaken, now_ns));
  EXPECT_EQ(pace_.wait_ns(kTaken), timing_.tick_ns);
  EXPECT_FALSE(pace_.wants_sleep(kNothing, now_ns + timing_.linger_ns - 1));
  EXPECT_TRUE(pace_.wants_sleep(kNothing, now_ns + timing_.linger_ns));
}

TEST_P(DrainPaceTest, NeverSleepsOverAnEventThatIsLeft) {
  EXPECT_FALSE(pace_.wants_sleep(kYoung, kStartNs));
  EXPECT_FALSE(pace_.wants_sleep(kTakenAndYoung, kStartNs));
}

TEST_P(DrainPaceTest, AFirstEventOnlySettles) {
  EXPECT_EQ(pace_.wait_ns(kYoung), timing_.settle_ns);
  // One that is still not there then is not asked for without pause.
  EXPECT_EQ(pace_.wait_ns(kYoung), timing_.tick_ns);
}

TEST_P(DrainPaceTest, YoungEventsInAStreamComeWithTheTick) {
  EXPECT_EQ(pace_.wait_ns(kTakenAndYoung), timing_.tick_ns);
}

TEST_P(DrainPaceTest, AFullBufferIsNotLeftForATick) {
  EXPECT_EQ(pace_.wait_ns(kCrowded), timing_.settle_ns);
  EXPECT_EQ(pace_.wait_ns(kCrowded), timing_.settle_ns);
}

TEST_P(DrainPaceTest, SleepsShortFirstAndThenLonger) {
  EXPECT_EQ(pace_.sleep_ns(), timing_.tick_ns);
  uint64_t last_ns = timing_.tick_ns;
  for (int i = 0; i < 10; ++i) {
    const uint64_t next_ns = pace_.sleep_ns();
    EXPECT_GE(next_ns, last_ns);
    EXPECT_LE(next_ns, kSleepMaxNs);
    last_ns = next_ns;
  }
  EXPECT_EQ(last_ns, kSleepMaxNs);
  pace_.wait_ns(kTaken);
  EXPECT_EQ(pace_.sleep_ns(), timing_.tick_ns) << "awake in between";
}

}  // namespace
}  // namespace ebpf

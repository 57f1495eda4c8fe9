// SPDX-License-Identifier: Apache-2.0
// Consumers that die or stand still at random points: the others must not notice.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

TEST(ConsumerFault, KilledOnesCostTheOthersNothing) {
  Dice dice;
  Stage stage;
  const Process first = stage.witness(0);
  const Process second = stage.witness(1);
  Report& report = stage.board->reports[2];
  for (uint64_t round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round_text(dice, round));
    report.slow_every = dice.below(3) == 0 ? dice.between(1, 20) : 0;
    report.slow_us = dice.between(0, 500);
    const uint32_t from = dice.below(2) == 0 ? EBPF_FROM_TAIL : EBPF_FROM_OLDEST;
    Process victim([&] { return run_consumer(report, stage.path, from); });
    stage.publish(dice.between(1, 1500));
    usleep(static_cast<useconds_t>(dice.below(6000)));  // also before it has joined
    victim.kill9();
    EXPECT_TRUE(stage.wait_attached(2, 1'000'000)) << "its slot is not free after a second";
    stage.wait_all_told(0);
    stage.wait_all_told(1);
    EXPECT_EQ(report.torn, 0u);
    if (testing::Test::HasFailure()) break;
  }
}

TEST(ConsumerFault, StoppedOnesAreToldExactlyWhatTheyMissed) {
  Dice dice;
  Stage stage;
  const Process witness = stage.witness(0);
  Process victim = stage.consumer(1, EBPF_FROM_OLDEST);
  Report& report = stage.board->reports[1];
  for (uint64_t round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round_text(dice, round));
    const bool inside = dice.below(2) == 0;
    report.slow_every = inside ? 1 : 0;
    report.slow_us = inside ? 2000 : 0;
    stage.publish(dice.between(50, 500));
    if (inside) {
      within_us(kPatienceUs, [&] { return report.inside == 1; });
    } else {
      usleep(static_cast<useconds_t>(dice.below(2000)));
    }
    victim.stop();
    const uint64_t lost_before = report.lost;
    stage.publish(stage.board->window * dice.between(2, 5));
    stage.wait_all_told(0);
    report.slow_every = 0;
    victim.cont();
    stage.wait_told(1);
    EXPECT_GT(report.lost, lost_before) << "several laps, and nothing lost?";
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace ebpf::fault

// SPDX-License-Identifier: Apache-2.0
// Producers that are killed in the middle of their work: consumers get every record that
// was published, no part of another, and go on with the next producer.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr uint64_t kComeBackUs = 2'000'000;
constexpr uint64_t kGroups = 4;  // side by side: most of a round is the wait for a retry

void kill_producers(Dice& dice, uint64_t count) {
  Stage stage;
  const Process first = stage.witness(0);
  const Process second = stage.witness(1);
  uint64_t in_the_middle = 0;
  for (uint64_t round = 0; round < count; ++round) {
    SCOPED_TRACE(round_text(dice, round));
    const uint64_t before[2] = {stage.board->reports[0].delivered,
                                stage.board->reports[1].delivered};
    stage.publish(1'000'000'000);
    usleep(static_cast<useconds_t>(dice.below(4000)));
    stage.producer.kill9();
    const uint64_t published = stage.board->published;
    in_the_middle += published > 0 ? 1 : 0;
    const uint64_t old_epoch = stage.board->epoch;
    stage.start_producer();
    EXPECT_GT(stage.board->epoch, old_epoch);
    for (int i = 0; i < 2; ++i) {
      const Report& report = stage.board->reports[i];
      EXPECT_TRUE(within_us(kComeBackUs, [&] { return report.epoch == stage.board->epoch; }))
          << "consumer " << i << " did not come back in time";
      EXPECT_EQ(report.restarts, round + 1);
      // All that was published, and at most the burst that was at work.
      EXPECT_GE(report.delivered - before[i], published);
      EXPECT_LE(report.delivered - before[i], published + 16);
      EXPECT_LE(report.lost, 16 * (round + 1));
      stage.expect_sound(static_cast<size_t>(i));
    }
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(in_the_middle, count / 4) << "killed too early to mean anything";
}

TEST(ProducerFault, KilledOnesLeaveOnlyWholeRecords) {
  Dice dice;
  std::vector<Process> groups;
  for (uint64_t group = 0; group < kGroups; ++group) {
    groups.emplace_back([&dice, group] {
      Dice own(dice.seed() + group);
      kill_producers(own, (rounds() + kGroups - 1) / kGroups);
      fflush(stdout);
      return testing::Test::HasFailure() ? 1 : 0;
    });
  }
  for (Process& group : groups) EXPECT_EQ(group.wait(), 0);
}

}  // namespace
}  // namespace ebpf::fault

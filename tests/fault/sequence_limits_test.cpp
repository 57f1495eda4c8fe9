// SPDX-License-Identifier: Apache-2.0
// Sequence numbers that pass 2^32 and 2^64: delivery, lapping and the account stay exact.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr uint64_t kNear32 = 1ull << 32;
constexpr uint64_t kNear64 = 0;  // 2^64

uint64_t bad_numbers(const std::vector<uint64_t>& seqs, uint64_t first) {
  uint64_t bad = 0;
  for (size_t i = 0; i < seqs.size(); ++i) bad += seqs[i] != first + i ? 1 : 0;
  return bad;
}

void pass(uint64_t limit, Dice& dice) {
  RingOptions options = small_options();
  options.initial_seq = limit - dice.between(1, 600);
  TestRing ring(options);
  TestSlot fast_slot(ring);
  TestSlot slow_slot(ring);
  auto fast = make_reader(ring, fast_slot, Join::kOldest);
  auto slow = make_reader(ring, slow_slot, Join::kOldest);
  Collector all;
  Collector some;
  uint64_t written = 0;
  const uint64_t total = dice.between(700, 2000);
  while (written < total) {
    const uint64_t count = dice.between(1, 40);
    ring.write(0, count);
    written += count;
    read_all(*fast, all);
    if (dice.below(40) == 0) read_all(*slow, some);
    const LaneCounts counts = slow->lanes()[0].counts();
    ASSERT_EQ(counts.delivered + counts.lost + counts.unread, written);
    ASSERT_EQ(counts.next_seq - counts.join_seq, counts.delivered + counts.lost);
  }
  read_all(*slow, some);
  EXPECT_EQ(all.count, written);
  EXPECT_EQ(bad_numbers(all.seqs[0], options.initial_seq), 0u);
  EXPECT_EQ(all.gaps.size(), 0u);
  EXPECT_EQ(some.count + some.lost(EBPF_GAP_LAPPED), written);
  EXPECT_EQ(some.lost(EBPF_GAP_LAPPED), slow->counts().lost);
  EXPECT_EQ(all.torn + some.torn, 0u);
  for (const Collector::Told& told : some.gaps) {
    ASSERT_LT(told.after_records, some.seqs[0].size());
    EXPECT_EQ(some.seqs[0][told.after_records], told.gap.seq);
  }
}

TEST(SequenceLimits, NumbersPass32Bits) {
  Dice dice;
  for (uint64_t round = 0; round < rounds() && !HasFailure(); ++round) {
    SCOPED_TRACE(round_text(dice, round));
    pass(kNear32, dice);
  }
}

TEST(SequenceLimits, NumbersPass64Bits) {
  Dice dice;
  for (uint64_t round = 0; round < rounds() && !HasFailure(); ++round) {
    SCOPED_TRACE(round_text(dice, round));
    pass(kNear64, dice);
  }
}

// The same through the library, with a late joiner and what it leaves unread.
TEST(SequenceLimits, AccountsOfProcessesPassThem) {
  for (const uint64_t limit : {kNear32, kNear64}) {
    RingOptions options = small_options();
    options.initial_seq = limit - 1000;
    Stage stage(options);
    const Process witness = stage.witness(0);
    stage.publish(800);
    stage.wait_all_told(0);
    Process stopped = stage.consumer(1, EBPF_FROM_TAIL);
    Report& report = stage.board->reports[1];
    stopped.stop();
    stage.publish(5 * stage.board->window);
    stage.wait_all_told(0);
    stopped.cont();
    EXPECT_TRUE(within_us(
        kPatienceUs, [&] { return report.delivered + report.lost == 5 * stage.board->window; }));
    EXPECT_GT(report.lost, 0u);
    stage.expect_sound(1);
    stopped.stop();
    const uint64_t undelivered = stage.board->undelivered;
    stage.publish(32);
    stage.wait_all_told(0);
    stopped.kill9();
    EXPECT_TRUE(stage.wait_attached(1, 1'000'000));
    EXPECT_TRUE(within_us(1'000'000, [&] { return stage.board->undelivered == undelivered + 32; }))
        << stage.board->undelivered << ", " << undelivered << " before";
  }
}

}  // namespace
}  // namespace ebpf::fault

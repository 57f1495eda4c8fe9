// SPDX-License-Identifier: Apache-2.0
// Going on with another handle where an earlier one stood.
#include "tests/unit/consumer_client.h"

namespace ebpf {
namespace {

std::vector<ebpf_position> positions_of(const ebpf_consumer* consumer) {
  std::vector<ebpf_position> positions(EBPF_LANES_MAX);
  const int count = ebpf_consumer_positions(consumer, positions.data(), positions.size());
  EXPECT_GE(count, 0) << ebpf_last_error();
  positions.resize(static_cast<size_t>(std::max(count, 0)));
  return positions;
}

void resume_at(TestConsumer& consumer, const std::vector<ebpf_position>& positions) {
  consumer.options().from = EBPF_FROM_RESUME;
  consumer.options().positions = positions.data();
  consumer.options().position_count = positions.size();
}

class Resumed : public testing::Test {
 protected:
  // Reads so many records, and says where it stands then.
  std::vector<ebpf_position> read_some(size_t records) {
    TestConsumer first(path_, 0, EBPF_FROM_OLDEST);
    EXPECT_EQ(first.open(), 0) << ebpf_last_error();
    first.during = [&] { return first.seqs.size() == records ? 1 : 0; };
    if (records > 0) first.poll_until(records);
    return positions_of(first.handle);
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "producer.sock";
};

TEST_F(Resumed, GoesOnWithTheVeryNextRecord) {
  TestProducer producer(path_, small_options(), 50);
  for (const size_t read : {0u, 1u, 15u, 16u, 49u, 50u}) {
    const auto positions = read_some(read);
    ASSERT_EQ(positions.size(), 1u);
    EXPECT_EQ(positions[0].seq, read);
    TestConsumer second(path_);
    resume_at(second, positions);
    ASSERT_EQ(second.open(), 0) << ebpf_last_error();
    EXPECT_EQ(stats_of(second.handle).published, 50 - read);
    if (read < 50) second.poll_until(50 - read);
    EXPECT_EQ(second.seqs, sequence(read, 50 - read));
    EXPECT_TRUE(second.gaps.empty());
    EXPECT_EQ(stats_of(second.handle).reattaches, 0u);
  }
}

TEST_F(Resumed, TellsEachGapNoticeOnce) {
  TestProducer producer(path_);
  producer.write(5);
  producer.gap(3);
  producer.write(5);
  std::vector<ebpf_position> before;
  std::vector<ebpf_position> behind;
  TestConsumer first(path_, 0, EBPF_FROM_OLDEST);
  ASSERT_EQ(first.open(), 0);
  first.during = [&] {
    // Inside its callback, a record counts as read.
    if (first.seqs.size() == 5) before = positions_of(first.handle);
    if (first.seqs.size() == 6) behind = positions_of(first.handle);
    return 0;
  };
  first.poll_until(10);
  TestConsumer second(path_);
  resume_at(second, before);
  ASSERT_EQ(second.open(), 0) << ebpf_last_error();
  second.poll_until(5);
  EXPECT_EQ(second.gaps.size(), 1u);
  EXPECT_EQ(second.seqs, sequence(5, 5));
  TestConsumer third(path_);
  resume_at(third, behind);
  ASSERT_EQ(third.open(), 0) << ebpf_last_error();
  third.poll_until(4);
  EXPECT_TRUE(third.gaps.empty());
  EXPECT_EQ(third.seqs, sequence(6, 4));
}

TEST_F(Resumed, CountsExactlyWhatWentByMeanwhile) {
  TestProducer producer(path_, small_options(), 50);
  const auto positions = read_some(20);
  producer.write(3000);
  TestConsumer second(path_);
  resume_at(second, positions);
  ASSERT_EQ(second.open(), 0) << ebpf_last_error();
  while (ebpf_consumer_poll(second.handle, 0) > 0) {
  }
  const auto stats = stats_of(second.handle);
  EXPECT_EQ(stats.published, 3030u);
  EXPECT_EQ(stats.unread, 0u);
  ASSERT_EQ(second.gaps.size(), 1u);
  EXPECT_EQ(second.gaps[0].gap.cause, EBPF_GAP_LAPPED);
  EXPECT_EQ(second.gaps[0].gap.count, stats.lost);
  EXPECT_EQ(second.seqs, sequence(20 + stats.lost, 3030 - stats.lost));
}

TEST_F(Resumed, BeginsAtTheStartOfAnotherEpochAndSaysSo) {
  auto producer = std::make_unique<TestProducer>(path_, small_options(), 50);
  const auto positions = read_some(20);
  producer.reset();
  producer = std::make_unique<TestProducer>(path_, small_options(), 30);
  TestConsumer second(path_);
  resume_at(second, positions);
  ASSERT_EQ(second.open(), 0) << ebpf_last_error();
  second.poll_until(30);
  EXPECT_EQ(second.seqs, sequence(0, 30));
  ASSERT_EQ(second.gaps.size(), 1u);
  EXPECT_EQ(second.gaps[0].gap.cause, EBPF_GAP_RESTART);
  EXPECT_EQ(second.gaps[0].after_records, 0u);
}

TEST_F(Resumed, BeginsAtTheFirstRecordOfALaneWithoutAPosition) {
  TestProducer producer(path_, small_options(3));
  producer.write(10, 0);
  producer.write(10, 1);
  producer.write(10, 2);
  auto positions = read_some(30);
  ASSERT_EQ(positions.size(), 3u);
  positions.erase(positions.begin() + 1);
  TestConsumer second(path_);
  resume_at(second, positions);
  ASSERT_EQ(second.open(), 0) << ebpf_last_error();
  second.poll_until(10);
  EXPECT_EQ(stats_of(second.handle).published, 10u);
  TestConsumer third(path_);
  resume_at(third, positions);
  third.options().lanes = 0b101;
  ASSERT_EQ(third.open(), 0) << ebpf_last_error();
  EXPECT_EQ(stats_of(third.handle).published, 0u);
}

TEST_F(Resumed, RefusesAPositionWhereNobodyCanHaveStood) {
  TestProducer producer(path_, small_options(), 50);
  const auto good = read_some(20);
  void (*const spoil[])(ebpf_position&) = {
      [](ebpf_position& p) { p.seq += 1; },        [](ebpf_position& p) { p.seq = 51; },
      [](ebpf_position& p) { p.seq = ~0ull; },     [](ebpf_position& p) { p.offset += 8; },
      [](ebpf_position& p) { p.offset -= 8; },     [](ebpf_position& p) { p.offset = 1; },
      [](ebpf_position& p) { p.offset = ~0u; },    [](ebpf_position& p) { p.segment += 1000; },
      [](ebpf_position& p) { p.segment = ~0ull; }, [](ebpf_position& p) { p.lane = 1; },
  };
  for (const auto& one : spoil) {
    auto positions = good;
    one(positions[0]);
    TestConsumer consumer(path_);
    resume_at(consumer, positions);
    EXPECT_EQ(consumer.open(), -EINVAL) << &one - &spoil[0];
    EXPECT_NE(std::strstr(ebpf_last_error(), "lane "), nullptr) << ebpf_last_error();
  }
  // Any numbers at all: an error, or an account that adds up.
  uint64_t random = 1;
  const auto next = [&random] {
    return random = random * 6364136223846793005ull + 1442695040888963407ull;
  };
  for (int round = 0; round < 300; ++round) {
    auto positions = good;
    positions[0].seq = next() >> 33 & 63;
    positions[0].offset = static_cast<uint32_t>(next() >> 33 & 4095);
    positions[0].segment = next() >> 33 & 7;
    TestConsumer consumer(path_);
    resume_at(consumer, positions);
    if (consumer.open() != 0) continue;
    while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
    }
    EXPECT_EQ(consumer.torn, 0u);
    EXPECT_EQ(stats_of(consumer.handle).unread, 0u);
  }
}

TEST_F(Resumed, FillsAsManyPositionsAsThereIsRoomFor) {
  TestProducer producer(path_, small_options(3));
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  ebpf_position two[3] = {};
  two[2].lane = 77;
  EXPECT_EQ(ebpf_consumer_positions(consumer.handle, two, 2), 3);
  EXPECT_EQ(two[1].lane, 1u);
  EXPECT_EQ(two[2].lane, 77u);
  EXPECT_EQ(ebpf_consumer_positions(consumer.handle, nullptr, 0), 3);
  EXPECT_EQ(ebpf_consumer_positions(consumer.handle, nullptr, 1), -EINVAL);
  EXPECT_EQ(ebpf_consumer_positions(nullptr, two, 2), -EINVAL);
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The reader against the real writer, on one mapping, without sockets.
#include <atomic>
#include <random>
#include <thread>

#include "tests/unit/consumer_support.h"

namespace ebpf {
namespace {

// ---- the plain way ----------------------------------------------------------------------

TEST(RingReader, DeliversEveryRecordInOrder) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  for (int round = 0; round < 500; ++round) {
    ring.write(0, static_cast<uint64_t>(round % 23), 1 + round % 5);
    read_all(*reader, collector);
  }
  EXPECT_EQ(collector.seqs[0], sequence(0, ring.writer->published(0)));
  EXPECT_GT(ring.writer->published(0), 5000u);
  EXPECT_EQ(collector.torn, 0u);
  EXPECT_TRUE(collector.gaps.empty());
}

TEST(RingReader, SeesNothingBeforeItIsPublished) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  append_record(*ring.writer, 0, 10);
  EXPECT_FALSE(reader->has_more());
  EXPECT_EQ(reader->read(100, collector.sink), 0u);
  ring.writer->publish(0);
  EXPECT_TRUE(reader->has_more());
  EXPECT_EQ(reader->read(100, collector.sink), 1u);
  EXPECT_FALSE(reader->has_more());
}

// What going to sleep relies on, also where the next record opens a new segment.
TEST(RingReader, NoticesEveryRecordBehindIt) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  for (int round = 0; round < 200; ++round) {
    ASSERT_FALSE(reader->has_more());
    ring.write(0, 1);
    ASSERT_TRUE(reader->has_more());
    read_all(*reader, collector);
  }
  EXPECT_EQ(collector.seqs[0], sequence(0, 200));
}

TEST(RingReader, JoinsAtTheTail) {
  TestRing ring;
  ring.write(0, 1000);
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  EXPECT_EQ(slot.page()->lanes[0].join_seq, 1000u);
  Collector collector;
  read_all(*reader, collector);
  EXPECT_EQ(collector.count, 0u);
  ring.write(0, 7);
  read_all(*reader, collector);
  EXPECT_EQ(collector.seqs[0], sequence(1000, 7));
  EXPECT_TRUE(collector.gaps.empty());
}

TEST(RingReader, JoinsAtTheOldestRecord) {
  TestRing ring;
  ring.write(0, 1000);
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kOldest);
  Collector collector;
  read_all(*reader, collector);
  // What the ring promises to hold, at least, up to the last one, without a hole.
  ASSERT_GE(collector.count, ring.writer->lane_capacity());
  EXPECT_EQ(collector.seqs[0], sequence(1000 - collector.count, collector.count));
  EXPECT_TRUE(collector.gaps.empty());
  const LaneCounts counts = reader->lanes()[0].counts();
  EXPECT_EQ(counts.join_seq, 1000 - collector.count);
  EXPECT_EQ(counts.lost, 0u);
}

TEST(RingReader, JoiningAtTheFirstCountsWhatIsGoneAsLost) {
  RingOptions options = small_options();
  options.initial_seq = UINT64_MAX - 100;  // and the numbers wrap on the way
  TestRing ring(options);
  ring.write(0, 1000);
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kFirst);
  Collector collector;
  read_all(*reader, collector);
  const LaneCounts counts = reader->counts();
  EXPECT_EQ(counts.delivered + counts.lost, 1000u);
  EXPECT_EQ(counts.unread, 0u);
  ASSERT_EQ(collector.gaps.size(), 1u);
  EXPECT_EQ(collector.gaps[0].gap.count, counts.lost);
  EXPECT_EQ(collector.gaps[0].after_records, 0u);
  EXPECT_EQ(collector.torn, 0u);
}

TEST(RingReader, ReadsTheLanesThatWereAskedFor) {
  TestRing ring(small_options(4));
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail, 0b1010);
  for (int round = 0; round < 50; ++round) {
    for (uint32_t lane = 0; lane < 4; ++lane) ring.write(lane, 10 + lane);
    Collector collector;
    read_all(*reader, collector);
    EXPECT_EQ(collector.seqs[1], sequence(round * 11, 11));
    EXPECT_EQ(collector.seqs[3], sequence(round * 13, 13));
    EXPECT_EQ(collector.count, 24u);
  }
}

TEST(RingReader, KeepsToItsBudget) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  ring.write(0, 60);
  Collector collector;
  EXPECT_EQ(reader->read(25, collector.sink), 25u);
  EXPECT_FALSE(reader->dry());
  EXPECT_EQ(reader->read(25, collector.sink), 25u);
  EXPECT_EQ(reader->read(25, collector.sink), 10u);
  EXPECT_TRUE(reader->dry());
  EXPECT_EQ(collector.seqs[0], sequence(0, 60));
}

TEST(RingReader, StopsAfterTheRecordThatSaysSo) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  ring.write(0, 60);
  Collector collector;
  collector.stop_after = 5;
  EXPECT_EQ(reader->read(100, collector.sink), 5u);
  EXPECT_EQ(reader->counts().delivered, 5u);
  EXPECT_EQ(reader->counts().unread, 55u);
  collector.sink.stop = false;
  read_all(*reader, collector);
  EXPECT_EQ(collector.seqs[0], sequence(0, 60));
}

TEST(RingReader, TellsGapNoticesWhereTheyStand) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  for (int round = 0; round < 100; ++round) {
    ring.write(0, 3);
    ring.writer->append_gap(0, EBPF_GAP_PERF_FULL, 1000 + round, 55);
    ring.writer->publish(0);
    read_all(*reader, collector);
  }
  EXPECT_EQ(collector.seqs[0], sequence(0, 300));
  ASSERT_EQ(collector.gaps.size(), 100u);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(collector.gaps[i].gap.count, 1000 + i);
    EXPECT_EQ(collector.gaps[i].gap.seq, 3 * (i + 1));
    EXPECT_EQ(collector.gaps[i].gap.cause, EBPF_GAP_PERF_FULL);
    EXPECT_EQ(collector.gaps[i].gap.timestamp_us, 55u);
    EXPECT_EQ(collector.gaps[i].after_records, 3 * (i + 1));
  }
  EXPECT_EQ(collector.sink.upstream_lost, 104950u);
  EXPECT_EQ(reader->counts().lost, 0u);
}

// ---- slow readers -----------------------------------------------------------------------

TEST(RingReader, CountsExactlyWhatItWasLapped) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    ring.write(0, random() % 500);
    reader->read(random() % 100 + 1, collector.sink);
    const LaneCounts counts = reader->counts();
    ASSERT_EQ(counts.delivered + counts.lost + counts.unread, ring.writer->published(0));
    ASSERT_EQ(slot.page()->lanes[0].next_seq, counts.delivered + counts.lost);
    ASSERT_EQ(slot.page()->lanes[0].delivered, counts.delivered);
    ASSERT_EQ(slot.page()->lanes[0].lost, counts.lost);
  }
  read_all(*reader, collector);
  EXPECT_EQ(collector.torn, 0u);
  EXPECT_EQ(collector.lost(EBPF_GAP_LAPPED), reader->counts().lost);
  EXPECT_GT(reader->counts().lost, 0u);
  // Every gap stands between the records on its two sides, and counts what is missing there.
  uint64_t expected = 0;
  size_t next_gap = 0;
  for (size_t i = 0; i < collector.seqs[0].size(); ++i) {
    if (next_gap < collector.gaps.size() && collector.gaps[next_gap].after_records == i) {
      expected += collector.gaps[next_gap].gap.count;
      EXPECT_EQ(collector.gaps[next_gap].gap.seq, expected);
      ++next_gap;
    }
    ASSERT_EQ(collector.seqs[0][i], expected++);
  }
  EXPECT_EQ(next_gap, collector.gaps.size());
}

TEST(RingReader, BalancesInsideEveryCallback) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  std::mt19937 random(11);
  uint64_t delivered = 0;
  collector.during = [&](const ebpf_record&, uint32_t) {
    ++delivered;
    if (random() % 8 == 0) ring.write(0, random() % 60);
    const LaneCounts counts = reader->counts();
    ASSERT_EQ(counts.delivered, delivered);
    ASSERT_EQ(counts.delivered + counts.lost + counts.unread, ring.writer->published(0));
  };
  for (int round = 0; round < 100; ++round) {
    ring.write(0, 20);
    reader->read(50, collector.sink);
  }
  EXPECT_GT(reader->counts().lost, 0u);
  EXPECT_EQ(collector.torn, 0u);
}

TEST(RingReader, KeepsARecordIntactHoweverSlowTheCallback) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  ring.write(0, 30);
  collector.during = [&](const ebpf_record& record, uint32_t) {
    std::vector<uint8_t> before(record.length_bytes);
    std::memcpy(before.data(), &record, before.size());
    ring.write(0, 3 * ring.writer->lane_capacity());  // several laps
    ASSERT_EQ(std::memcmp(before.data(), &record, before.size()), 0);
  };
  reader->read(10, collector.sink);
  EXPECT_EQ(collector.count, 10u);
  EXPECT_EQ(collector.torn, 0u);
  EXPECT_GT(ring.writer->parked_blocks(), 0u);
}

TEST(RingReader, ReadsTheSegmentItPinsToTheEndAlthoughItIsLapped) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  ring.write(0, 2);
  read_all(*reader, collector);
  ring.write(0, 1000);
  read_all(*reader, collector);
  ASSERT_EQ(collector.gaps.size(), 1u);
  EXPECT_GT(collector.gaps[0].after_records, 2u);  // the rest of the parked segment came first
  EXPECT_EQ(collector.count + collector.lost(EBPF_GAP_LAPPED), 1002u);
}

TEST(RingReader, AParkedReaderCostsTheOthersNothing) {
  TestRing ring;
  TestSlot slow_slot(ring);
  TestSlot fast_slot(ring);
  auto slow = make_reader(ring, slow_slot, Join::kTail);
  auto fast = make_reader(ring, fast_slot, Join::kTail);
  Collector slow_collector;
  Collector fast_collector;
  ring.write(0, 1);
  slow->read(1, slow_collector.sink);  // stops here, holding its pin
  for (int round = 0; round < 1000; ++round) {
    ring.write(0, 20);
    read_all(*fast, fast_collector);
  }
  EXPECT_EQ(fast_collector.seqs[0], sequence(0, 20001));
  EXPECT_TRUE(fast_collector.gaps.empty());
  EXPECT_EQ(ring.writer->parked_blocks(), 1u);
  read_all(*slow, slow_collector);
  EXPECT_EQ(slow_collector.count + slow_collector.lost(EBPF_GAP_LAPPED), 20001u);
}

// ---- cut off, resumed, ended ------------------------------------------------------------

TEST(RingReader, ResumesWhereItStood) {
  TestRing ring;
  Collector collector;
  std::vector<ResumePoint> points;
  for (int round = 0; round < 20; ++round) {
    TestSlot slot(ring);
    auto reader = points.empty() ? make_reader(ring, slot, Join::kTail)
                                 : must(RingReader::resume(ring.view(), slot.page(), points));
    ring.write(0, 24);
    reader->read(20 + round % 12, collector.sink);
    points = reader->resume_points();
    reader->leave();
  }
  EXPECT_EQ(collector.seqs[0], sequence(0, collector.count));
  EXPECT_TRUE(collector.gaps.empty());
  EXPECT_GE(collector.count, 400u);
}

TEST(RingReader, CountsWhatItMissedBeforeItResumed) {
  TestRing ring;
  Collector collector;
  TestSlot first_slot(ring);
  auto first = make_reader(ring, first_slot, Join::kTail);
  ring.write(0, 30);
  first->read(25, collector.sink);
  const auto points = first->resume_points();
  first->leave();
  first_slot.detach();
  ring.write(0, 1000);
  TestSlot slot(ring);
  auto reader = must(RingReader::resume(ring.view(), slot.page(), points));
  read_all(*reader, collector);
  EXPECT_EQ(collector.gaps.size(), 1u);
  EXPECT_EQ(collector.gaps[0].after_records, 25u);
  EXPECT_EQ(collector.count + collector.lost(EBPF_GAP_LAPPED), 1030u);
}

TEST(RingReader, AnOrphanDeliversWhatWasPublishedAndNoMore) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  ring.write(0, 30);
  reader->read(10, collector.sink);
  ring.writer->append_gap(0, EBPF_GAP_NO_ROOM, 5, 0);
  ring.writer->publish(0);
  reader->orphan();
  slot.detach();
  ring.write(0, 4);  // it cannot be known that somebody still writes
  read_all(*reader, collector);
  EXPECT_EQ(collector.seqs[0], sequence(0, 30));
  ASSERT_EQ(collector.gaps.size(), 1u);
  EXPECT_EQ(collector.gaps[0].after_records, 30u);
}

TEST(RingReader, AnOrphanNeverShowsATornRecord) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  collector.keep_seqs = false;
  ring.write(0, 60);
  reader->orphan();
  slot.detach();
  collector.during = [&](const ebpf_record& record, uint32_t) {
    std::vector<uint8_t> before(record.length_bytes);
    std::memcpy(before.data(), &record, before.size());
    ring.write(0, 3 * ring.writer->lane_capacity());
    ASSERT_EQ(std::memcmp(before.data(), &record, before.size()), 0);
  };
  read_all(*reader, collector);
  EXPECT_GT(collector.count, 0u);
  EXPECT_EQ(collector.torn, 0u);
  const LaneCounts counts = reader->counts();
  EXPECT_EQ(counts.delivered + counts.lost + counts.unread, ring.writer->published(0));
}

TEST(RingReader, KnowsTheEnd) {
  TestRing ring;
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kTail);
  Collector collector;
  EXPECT_FALSE(reader->ended());
  ring.write(0, 10);
  ring.writer->end();
  EXPECT_TRUE(reader->ended());
  read_all(*reader, collector);
  EXPECT_EQ(collector.count, 10u);
}

// ---- what cannot be valid ---------------------------------------------------------------

// The ring's memory as it stands, in a heap block of exactly its size.
class RingCopy {
 public:
  explicit RingCopy(const TestRing& ring)
      : words_(ring.bytes() / sizeof(uint64_t)), bytes_(ring.bytes()) {
    std::memcpy(words_.data(), ring.base(), bytes_);
  }
  uint8_t* base() { return reinterpret_cast<uint8_t*>(words_.data()); }
  size_t bytes() const { return bytes_; }
  ebpf_ring_header* header() { return reinterpret_cast<ebpf_ring_header*>(base()); }
  ebpf_lane_header* lane(uint32_t index) {
    return reinterpret_cast<ebpf_lane_header*>(base() + header()->lanes_offset +
                                               index * header()->lane_bytes);
  }
  ebpf_block_header* segment(uint32_t lane_index, uint64_t n) {
    const auto* dir = reinterpret_cast<const uint32_t*>(lane(lane_index) + 1);
    return reinterpret_cast<ebpf_block_header*>(base() + header()->blocks_offset +
                                                uint64_t{dir[n % header()->dir_entries]} *
                                                    header()->block_bytes);
  }
  // The record so many places into a segment.
  ebpf_record* record(uint64_t n, int place) {
    auto* at = reinterpret_cast<uint8_t*>(segment(0, n) + 1);
    while (place-- > 0) at += reinterpret_cast<ebpf_record*>(at)->length_bytes;
    return reinterpret_cast<ebpf_record*>(at);
  }

 private:
  std::vector<uint64_t> words_;
  size_t bytes_;
};

TEST(RingView, RefusesAHeaderThatCannotBe) {
  TestRing ring;
  const RingCopy good(ring);
  struct Case {
    const char* name;
    int code;
    void (*spoil)(ebpf_ring_header&);
  };
  const Case cases[] = {
      {"magic", EBADMSG, [](ebpf_ring_header& h) { h.magic ^= 1; }},
      {"version", EPROTO, [](ebpf_ring_header& h) { h.layout_version = 2; }},
      {"header size", EBADMSG, [](ebpf_ring_header& h) { h.header_bytes = 128; }},
      {"epoch", EBADMSG, [](ebpf_ring_header& h) { h.epoch = 0; }},
      {"total, larger", EBADMSG, [](ebpf_ring_header& h) { h.total_bytes += 4096; }},
      {"total, smaller", EBADMSG, [](ebpf_ring_header& h) { h.total_bytes -= 4096; }},
      {"no lanes", EBADMSG, [](ebpf_ring_header& h) { h.lane_count = 0; }},
      {"too many lanes", EBADMSG, [](ebpf_ring_header& h) { h.lane_count = 65; }},
      {"no consumers", EBADMSG, [](ebpf_ring_header& h) { h.max_consumers = 0; }},
      {"window 1", EBADMSG, [](ebpf_ring_header& h) { h.window_segments = 1; }},
      {"window", EBADMSG, [](ebpf_ring_header& h) { h.window_segments = UINT32_MAX; }},
      {"directory", EBADMSG, [](ebpf_ring_header& h) { h.dir_entries -= 1; }},
      {"directory 0", EBADMSG, [](ebpf_ring_header& h) { h.dir_entries = 0; }},
      {"directory small", EBADMSG, [](ebpf_ring_header& h) { h.dir_entries = 2; }},
      {"directory big", EBADMSG, [](ebpf_ring_header& h) { h.dir_entries = 1u << 31; }},
      {"blocks", EBADMSG, [](ebpf_ring_header& h) { h.block_count += 1; }},
      {"block size 0", EBADMSG, [](ebpf_ring_header& h) { h.block_bytes = 0; }},
      {"block size odd", EBADMSG, [](ebpf_ring_header& h) { h.block_bytes += 8; }},
      {"block size big", EBADMSG, [](ebpf_ring_header& h) { h.block_bytes = 0xfffff000; }},
      {"capture", EBADMSG, [](ebpf_ring_header& h) { h.cap_bytes = EBPF_CAP_BYTES_MAX + 1; }},
      {"capture over block", EBADMSG, [](ebpf_ring_header& h) { h.cap_bytes = 8192; }},
      {"lanes offset", EBADMSG, [](ebpf_ring_header& h) { h.lanes_offset = 64; }},
      {"lanes offset odd", EBADMSG, [](ebpf_ring_header& h) { h.lanes_offset += 4; }},
      {"lanes offset far", EBADMSG, [](ebpf_ring_header& h) { h.lanes_offset = 1ull << 63; }},
      {"lane size", EBADMSG, [](ebpf_ring_header& h) { h.lane_bytes = 0; }},
      {"lane size far", EBADMSG, [](ebpf_ring_header& h) { h.lane_bytes = ~0xfffull; }},
      {"blocks offset", EBADMSG, [](ebpf_ring_header& h) { h.blocks_offset = 4096; }},
      {"blocks offset far", EBADMSG, [](ebpf_ring_header& h) { h.blocks_offset = ~0xfffull; }},
  };
  for (const Case& one : cases) {
    RingCopy copy = good;
    one.spoil(*copy.header());
    const auto view = RingView::create(copy.base(), copy.bytes());
    ASSERT_FALSE(view.has_value()) << one.name;
    EXPECT_EQ(view.error().code, one.code) << one.name << ": " << view.error().message;
  }
  RingCopy copy = good;
  EXPECT_TRUE(RingView::create(copy.base(), copy.bytes()).has_value());
  EXPECT_FALSE(RingView::create(copy.base(), 64).has_value());
}

TEST(RingView, SaysWhichVersionItReads) {
  TestRing ring;
  RingCopy copy(ring);
  copy.header()->layout_version = 7;
  EXPECT_EQ(RingView::create(copy.base(), copy.bytes()).error().message,
            "this library reads ring layout version 1, the producer writes 7");
}

// One spoiled record in the middle of a full ring: everything before it is delivered, the
// rest of its segment counts as lost, and the stream goes on behind it.
TEST(RingReader, SkipsTheSegmentOfARecordThatCannotBeValid) {
  TestRing ring;
  ring.write(0, 60);
  const RingCopy good(ring);
  struct Case {
    const char* name;
    void (*spoil)(ebpf_record&);
  };
  const Case cases[] = {
      {"length 0", [](ebpf_record& r) { r.length_bytes = 0; }},
      {"length 8", [](ebpf_record& r) { r.length_bytes = 8; }},
      {"length odd", [](ebpf_record& r) { r.length_bytes += 4; }},
      {"length short", [](ebpf_record& r) { r.length_bytes = 152; }},
      {"length over the end", [](ebpf_record& r) { r.length_bytes = 4096; }},
      {"length huge", [](ebpf_record& r) { r.length_bytes = 0xfffffff8; }},
      {"kind", [](ebpf_record& r) { r.kind = 3; }},
      {"gap of an own cause",
       [](ebpf_record& r) {
         r.kind = EBPF_RECORD_GAP;
         reinterpret_cast<ebpf_gap&>(r).cause = EBPF_GAP_LAPPED;
       }},
      {"seq", [](ebpf_record& r) { r.seq += 1; }},
      {"cap_len over the record", [](ebpf_record& r) { r.data.cap_len = r.length_bytes - 159; }},
      {"cap_len huge", [](ebpf_record& r) { r.data.cap_len = UINT32_MAX; }},
      {"need_reconfirm",
       [](ebpf_record& r) { reinterpret_cast<uint8_t*>(&r.data.need_reconfirm)[0] = 2; }},
  };
  for (const Case& one : cases) {
    RingCopy copy = good;
    const uint64_t bad_seq = copy.record(1, 3)->seq;
    const uint64_t next_seq = copy.segment(0, 2)->first_seq;
    one.spoil(*copy.record(1, 3));
    auto view = RingView::create(copy.base(), copy.bytes());
    ASSERT_TRUE(view.has_value());
    ebpf_control_page page{};
    auto reader = must(RingReader::create(*view, &page, 1, Join::kOldest));
    Collector collector;
    read_all(*reader, collector);
    ASSERT_EQ(collector.gaps.size(), 1u) << one.name;
    EXPECT_EQ(collector.gaps[0].gap.cause, EBPF_GAP_CORRUPT) << one.name;
    EXPECT_EQ(collector.gaps[0].gap.count, next_seq - bad_seq) << one.name;
    EXPECT_EQ(collector.gaps[0].after_records, bad_seq) << one.name;
    EXPECT_EQ(collector.count, 60 - (next_seq - bad_seq)) << one.name;
    EXPECT_EQ(collector.torn, 0u) << one.name;
  }
}

TEST(RingReader, WaitsBehindASpoiledOpenSegment) {
  TestRing ring;
  ring.write(0, 3);
  TestSlot slot(ring);
  auto reader = make_reader(ring, slot, Join::kOldest);
  const RingView view = ring.view();
  auto* block = const_cast<ebpf_block_header*>(view.block(*view.dir(0)));
  const uint64_t good = block->committed;
  block->committed = good + 4;
  Collector collector;
  read_all(*reader, collector);
  EXPECT_EQ(collector.count, 0u);
  EXPECT_FALSE(reader->has_more());
  EXPECT_EQ(reader->counts().unread, 3u);
  ring.write(0, 30);
  read_all(*reader, collector);
  ASSERT_EQ(collector.gaps.size(), 1u);
  EXPECT_EQ(collector.gaps[0].gap.cause, EBPF_GAP_CORRUPT);
  EXPECT_EQ(collector.count + collector.gaps[0].gap.count, 33u);
}

TEST(RingReader, ClosesTheAccountOfAProducerThatDiedMidway) {
  TestRing ring;
  ring.write(0, 20);
  RingCopy copy(ring);
  copy.lane(0)->published_seq += 5;  // killed between this store and that of `committed`
  auto view = RingView::create(copy.base(), copy.bytes());
  ebpf_control_page page{};
  auto reader = must(RingReader::create(*view, &page, 1, Join::kOldest));
  Collector collector;
  reader->orphan();
  read_all(*reader, collector);
  EXPECT_EQ(reader->counts().unread, 5u);
  reader->close_account(collector.sink);
  const LaneCounts counts = reader->counts();
  EXPECT_EQ(counts.delivered, 20u);
  EXPECT_EQ(counts.lost, 5u);
  EXPECT_EQ(counts.unread, 0u);
  ASSERT_EQ(collector.gaps.size(), 1u);
  EXPECT_EQ(collector.gaps[0].gap.count, 5u);
}

// Whatever stands in the memory: no access outside of it, no endless loop, and the account
// balances. Run under AddressSanitizer this is the test that matters.
TEST(RingReader, SurvivesFlippedBits) {
  TestRing ring(small_options(2));
  ring.write(0, 200);
  ring.write(1, 90);
  const RingCopy good(ring);
  std::mt19937_64 random(42);
  uint64_t delivered = 0;
  uint64_t refused = 0;
  for (int round = 0; round < 1500; ++round) {
    RingCopy copy = good;
    const uint64_t flips = 1 + random() % 24;
    for (uint64_t i = 0; i < flips; ++i) {
      // Mostly where the reader looks: headers, directories, the start of blocks.
      const uint64_t areas[] = {sizeof(ebpf_ring_header), copy.header()->blocks_offset,
                                copy.bytes(), copy.bytes()};
      uint64_t at = random() % areas[round % 4];
      if (round % 4 == 3) at = at / 4096 * 4096 + random() % 512;
      if (at < copy.bytes()) copy.base()[at] ^= static_cast<uint8_t>(1u << random() % 8);
    }
    auto view = RingView::create(copy.base(), copy.bytes());
    if (!view) {
      ++refused;
      continue;
    }
    ebpf_control_page page{};
    auto reader = RingReader::create(*view, &page, 3, static_cast<Join>(random() % 3));
    if (!reader) continue;
    Collector collector;
    collector.keep_seqs = false;
    if (random() % 4 == 0) (*reader)->orphan();
    for (int i = 0; i < 20; ++i) (*reader)->read(100, collector.sink);
    (*reader)->close_account(collector.sink);
    const LaneCounts counts = (*reader)->counts();
    ASSERT_EQ(counts.delivered, collector.count);
    for (const LaneReader& lane : (*reader)->lanes()) {
      const LaneCounts one = lane.counts();
      ASSERT_EQ(one.next_seq - one.join_seq, one.delivered + one.lost);
    }
    delivered += counts.delivered;
  }
  EXPECT_GT(delivered, 5000u);
  EXPECT_GT(refused, 50u);
}

// ---- threads ----------------------------------------------------------------------------

// One writer and four readers on one mapping, each in a thread: one as fast as it can, one
// that filters, one that pauses at times, and one far too slow. ThreadSanitizer sees it all.
TEST(RingReader, ReadersOfEverySpeedKeepWithAWriterThatNeverWaits) {
  constexpr int kReaders = 4;
  constexpr uint64_t kRecords = 60000;
  TestRing ring(small_options(2));
  std::vector<std::unique_ptr<TestSlot>> slots;
  std::vector<std::unique_ptr<RingReader>> readers;
  for (int i = 0; i < kReaders; ++i) {
    slots.push_back(std::make_unique<TestSlot>(ring));
    readers.push_back(make_reader(ring, *slots.back(), Join::kTail));
  }
  ebpf_filter odd = EBPF_FILTER_INIT;
  odd.directions = EBPF_FILTER_RCV;
  const RecordFilter filter = must(RecordFilter::create(odd));
  std::vector<Collector> collectors(kReaders);
  collectors[1].sink.filter = &filter;
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&, i] {
      Collector& collector = collectors[i];
      collector.keep_seqs = false;
      std::mt19937 random(static_cast<unsigned>(i));
      collector.during = [&](const ebpf_record&, uint32_t) {
        const unsigned rarely[] = {0, 0, 512, 8};
        if (rarely[i] != 0 && random() % rarely[i] == 0) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
        }
      };
      do {
        const bool ended = readers[i]->ended();
        readers[i]->read(64, collector.sink);
        if (ended && readers[i]->dry()) break;
        if (readers[i]->dry()) std::this_thread::yield();
      } while (true);
    });
  }
  for (uint64_t written = 0; written < kRecords; written += 32) {
    ring.write(0, 16);
    ring.write(1, 16);
    if (written % 1024 == 0) std::this_thread::yield();
  }
  ring.writer->end();
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kReaders; ++i) {
    const LaneCounts counts = readers[i]->counts();
    EXPECT_EQ(counts.delivered + counts.filtered + counts.lost, kRecords) << i;
    EXPECT_EQ(counts.filtered > 0, i == 1) << i;
    EXPECT_EQ(counts.unread, 0u) << i;
    EXPECT_EQ(collectors[i].torn, 0u) << i;
    EXPECT_EQ(collectors[i].lost(EBPF_GAP_LAPPED), counts.lost) << i;
    EXPECT_EQ(collectors[i].lost(EBPF_GAP_CORRUPT), 0u) << i;
  }
  EXPECT_GT(readers[3]->counts().lost, 0u) << "too slow to be lapped by nobody";
}

}  // namespace
}  // namespace ebpf

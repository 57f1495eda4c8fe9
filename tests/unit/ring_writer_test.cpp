// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "producer/ring_geometry.h"
#include "ring_support.h"

namespace ebpf {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr uint64_t kManyRecords = 100'000;
#else
constexpr uint64_t kManyRecords = 1'000'000;
#endif

RingOptions small_ring() {
  RingOptions options;
  options.ring_records = 40;
  options.segment_bytes = 8192;  // 12 full-size records of 672 bytes
  options.max_consumers = 2;
  return options;
}

const uint8_t* payload(const ebpf_record* record) {
  return reinterpret_cast<const uint8_t*>(record + 1);
}

// ---- geometry ---------------------------------------------------------------------

struct Shape {
  uint32_t records, lanes, cap_bytes, segment_bytes, consumers;
};
class RingGeometryOf : public testing::TestWithParam<Shape> {};

TEST_P(RingGeometryOf, HoldsAtLeastTheRecordsAskedFor) {
  RingOptions options;
  options.ring_records = GetParam().records;
  options.lane_count = GetParam().lanes;
  options.cap_bytes = GetParam().cap_bytes;
  options.segment_bytes = GetParam().segment_bytes;
  options.max_consumers = GetParam().consumers;
  auto plan = plan_ring(options);
  ASSERT_TRUE(plan) << plan.error().message;

  const uint64_t record = ebpf_record_bytes(options.cap_bytes);
  const uint64_t full_segments = plan->window_segments - 1;
  EXPECT_GE(full_segments * plan->records_per_segment * options.lane_count, options.ring_records);
  EXPECT_GE(plan->records_per_segment, 2u);
  EXPECT_LE(plan->records_per_segment * record, plan->room());
  EXPECT_EQ(plan->block_bytes % 4096, 0u);
  EXPECT_GE(plan->window_segments, 2u);
  EXPECT_GT(plan->dir_entries, plan->window_segments);
  EXPECT_EQ(plan->dir_entries & (plan->dir_entries - 1), 0u);
  EXPECT_EQ(plan->block_count, options.lane_count * plan->window_segments +
                                   options.max_consumers * options.lane_count + options.lane_count);
  EXPECT_EQ(plan->blocks_offset % 4096, 0u);
  EXPECT_GE(plan->lane_bytes, sizeof(ebpf_lane_header) + plan->dir_entries * 4ull);
  EXPECT_EQ(plan->total_bytes,
            plan->blocks_offset + uint64_t{plan->block_count} * plan->block_bytes);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RingGeometryOf,
                         testing::Values(Shape{1, 1, 512, 0, 1}, Shape{65536, 1, 512, 0, 16},
                                         Shape{65536, 64, 512, 0, 64}, Shape{3, 64, 1, 0, 64},
                                         Shape{1u << 20, 4, 16384, 0, 16},
                                         Shape{1000, 3, 512, 8192, 16},
                                         Shape{UINT32_MAX, 1, 512, 0, 1},
                                         Shape{390, 1, 512, 262144, 16},
                                         Shape{389, 1, 512, 262144, 16}));

TEST(RingGeometry, TakesQuarterMegabyteSegmentsForTheDefaultRing) {
  auto plan = plan_ring(RingOptions{});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->block_bytes, 256u * 1024);
  EXPECT_EQ(plan->records_per_segment, 389u);
  EXPECT_EQ(plan->window_segments, 65536u / 389 + 1 + 1);
}

TEST(RingGeometry, RefusesWhatNoRingCanBe) {
  const auto refused = [](auto change, const char* option) {
    RingOptions options;
    change(options);
    auto plan = plan_ring(options);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, EINVAL);
    EXPECT_NE(plan.error().message.find(option), std::string::npos) << plan.error().message;
  };
  refused([](RingOptions& o) { o.lane_count = 0; }, "lane_count is 0, must be 1 to 64");
  refused([](RingOptions& o) { o.lane_count = 65; }, "lane_count");
  refused([](RingOptions& o) { o.max_consumers = 0; }, "max_consumers");
  refused([](RingOptions& o) { o.max_consumers = 65; }, "max_consumers");
  refused([](RingOptions& o) { o.cap_bytes = 0; }, "cap_bytes");
  refused([](RingOptions& o) { o.cap_bytes = 16385; }, "cap_bytes is 16385");
  refused([](RingOptions& o) { o.ring_records = 0; }, "ring_records");
  refused([](RingOptions& o) { o.segment_bytes = 5000; }, "segment_bytes is 5000");
  refused([](RingOptions& o) { o.segment_bytes = 4096, o.cap_bytes = 8192; }, "segment_bytes");
  refused([](RingOptions& o) { o.ring_records = UINT32_MAX, o.cap_bytes = 16384; }, "ring_records");
}

TEST(RingWriter, RefusesSlotsThatWereMadeForAnotherRing) {
  ConsumerSlots slots(4, 2, 77);
  RingOptions options;
  options.max_consumers = 4;
  options.lane_count = 2;
  options.max_consumers = 5;
  auto writer = RingWriter::create(options, slots);
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().message.find("max_consumers is 5 for the one, 4 for the other"),
            std::string::npos)
      << writer.error().message;
}

// ---- appending --------------------------------------------------------------------

TEST(RingWriter, DescribesItselfInTheHeader) {
  RingOptions options = small_ring();
  options.epoch = 4711;
  options.lane_count = 2;
  Ring ring(options);
  const Walker walker(*ring.writer);
  const ebpf_ring_header& header = walker.header();
  EXPECT_EQ(header.magic, EBPF_RING_MAGIC);
  EXPECT_EQ(header.layout_version, EBPF_RING_LAYOUT_VERSION);
  EXPECT_EQ(header.header_bytes, sizeof(ebpf_ring_header));
  EXPECT_EQ(header.epoch, 4711u);
  EXPECT_EQ(header.lane_count, 2u);
  EXPECT_EQ(header.cap_bytes, 512u);
  EXPECT_EQ(header.producer_pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(header.state, EBPF_RING_RUNNING);
  EXPECT_EQ(walker.lane(0)->head, 1u) << "the first segment is open from the start";
  EXPECT_EQ(walker.lane(1)->head, 1u);
  ring.writer->end();
  EXPECT_EQ(header.state, EBPF_RING_ENDED);
}

TEST(RingWriter, ShowsARecordInPlaceOnceItIsPublished) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  ebpf_record* record = ring.writer->reserve(0, 5);
  ASSERT_NE(record, nullptr);
  record->data = SK_BPF_DATA{};
  record->data.process_id = 42;
  record->data.cap_data = reinterpret_cast<char*>(record);
  std::memcpy(record + 1, "hello", 5);
  EXPECT_TRUE(walker.records(0).empty());
  ring.writer->commit(0);
  EXPECT_TRUE(walker.records(0).empty());
  EXPECT_EQ(walker.lane(0)->published_seq, 0u);
  ring.writer->publish(0);

  const auto records = walker.records(0);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0]->kind, EBPF_RECORD_DATA);
  EXPECT_EQ(records[0]->length_bytes, ebpf_record_bytes(5));
  EXPECT_EQ(records[0]->seq, 0u);
  EXPECT_EQ(records[0]->data.process_id, 42u);
  EXPECT_EQ(records[0]->data.cap_len, 5u) << "the reservation decides";
  EXPECT_EQ(records[0]->data.cap_data, nullptr) << "a pointer means nothing elsewhere";
  EXPECT_EQ(std::memcmp(payload(records[0]), "hello", 5), 0);
  EXPECT_EQ(walker.lane(0)->published_seq, 1u);
  EXPECT_EQ(ring.writer->published(0), 1u);
  EXPECT_EQ(ebpf_committed_records(walker.segment(0, 0)->committed), 1u);
}

TEST(RingWriter, ZeroesThePaddingOverOldRecords) {
  Ring ring(small_ring());
  for (int i = 0; i < 200; ++i) ring.write(0, 512, 0xff);
  for (int i = 0; i < 200; ++i) ring.write(0, 1 + i % 8, 0x55);
  const Walker walker(*ring.writer);
  for (const ebpf_record* record : walker.records(0)) {
    ASSERT_EQ(record->length_bytes % EBPF_RECORD_ALIGN, 0u);
    if (record->data.cap_len > 8) continue;
    for (uint32_t at = record->data.cap_len; sizeof(ebpf_record) + at < record->length_bytes;
         ++at) {
      ASSERT_EQ(payload(record)[at], 0);
    }
  }
}

TEST(RingWriter, SealsASegmentAndGoesOnInTheNext) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  for (int i = 0; i < 12; ++i) ring.write(0, 512, 1);
  EXPECT_EQ(walker.lane(0)->head, 1u);
  EXPECT_EQ(walker.segment(0, 0)->committed, ebpf_committed(12 * 672, 12));
  // Not published by itself; the roll publishes what was committed before it.
  ring.write(0, 100, 2, false);
  EXPECT_EQ(walker.lane(0)->head, 2u);
  EXPECT_EQ(walker.segment(0, 0)->committed, ebpf_committed(12 * 672, 12) | EBPF_COMMITTED_SEALED);
  EXPECT_EQ(walker.segment(0, 1)->first_seq, 12u);
  EXPECT_EQ(walker.segment(0, 1)->committed, 0u);
  ring.writer->publish_all();
  EXPECT_EQ(walker.records(0).size(), 13u);
}

TEST(RingWriter, PublishesAnUnpublishedBatchTogetherWithTheSeal) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  for (int i = 0; i < 13; ++i) ring.write(0, 512, 1, false);
  EXPECT_EQ(ebpf_committed_records(walker.segment(0, 0)->committed), 12u);
  EXPECT_TRUE(walker.segment(0, 0)->committed & EBPF_COMMITTED_SEALED);
  EXPECT_EQ(walker.lane(0)->published_seq, 12u);
}

TEST(RingWriter, KeepsExactlyTheLastWindow) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  const uint32_t window = walker.header().window_segments;
  ASSERT_EQ(window, 5u);  // 40 records, 12 to a segment, one segment more
  ASSERT_EQ(ring.writer->lane_capacity(), 48u);
  std::mt19937 random(3);
  uint64_t written = 0;
  for (int i = 0; i < 5000; ++i) {
    ring.write(0, i < 2500 ? 512 : random() % 513, 1);
    ++written;
    const auto records = walker.records(0);
    ASSERT_GE(records.size(), std::min<uint64_t>(written, ring.writer->lane_capacity()));
    ASSERT_EQ(records.back()->seq, written - 1);
    ASSERT_EQ(records.front()->seq, written - records.size());
    ASSERT_EQ(walker.segment(0, walker.oldest_segment(0))->first_seq, records.front()->seq);
    uint32_t live = 0;
    for (uint32_t b = 0; b < walker.header().block_count; ++b) {
      if (walker.block(b)->generation != 0) ++live;
    }
    ASSERT_EQ(live, std::min<uint64_t>(walker.lane(0)->head, window));
  }
}

TEST(RingWriter, KeepsLanesApart) {
  RingOptions options = small_ring();
  options.lane_count = 3;
  Ring ring(options);
  std::mt19937 random(5);
  uint64_t written[3] = {};
  for (int i = 0; i < 3000; ++i) {
    const uint32_t lane = random() % 3;
    ring.write(lane, random() % 513, static_cast<uint8_t>(lane + 1));
    ++written[lane];
  }
  const Walker walker(*ring.writer);
  for (uint32_t lane = 0; lane < 3; ++lane) {
    EXPECT_EQ(ring.writer->published(lane), written[lane]);
    uint64_t seq = walker.records(lane).front()->seq;
    for (const ebpf_record* record : walker.records(lane)) {
      ASSERT_EQ(record->seq, seq++);
      for (uint32_t at = 0; at < record->data.cap_len; ++at) {
        ASSERT_EQ(payload(record)[at], lane + 1);
      }
    }
    EXPECT_EQ(seq, written[lane]);
  }
}

TEST(RingWriter, RefusesALongerPayloadThanTheLimitAndCountsIt) {
  Ring ring(small_ring());
  EXPECT_EQ(ring.writer->reserve(0, 513), nullptr);
  EXPECT_EQ(ring.writer->reserve(0, UINT32_MAX), nullptr);
  EXPECT_EQ(ring.writer->lost(0), 2u);
  ring.write(0, 512, 1);
  EXPECT_EQ(ring.writer->lost(0), 2u);
  EXPECT_EQ(ring.writer->published(0), 1u);
}

TEST(RingWriter, LeavesNothingOfAnAbandonedRecord) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  for (int i = 0; i < 100; ++i) {
    ebpf_record* record = ring.writer->reserve(0, 512);
    ASSERT_NE(record, nullptr);
    std::memset(record + 1, 0xee, 512);
    ring.writer->abandon(0);
    ring.writer->publish(0);
    ring.write(0, 64, 0x11);
  }
  const auto records = walker.records(0);
  EXPECT_EQ(ring.writer->published(0), 100u);
  EXPECT_EQ(ring.writer->lost(0), 0u);
  uint64_t seq = records.front()->seq;
  for (const ebpf_record* record : records) {
    ASSERT_EQ(record->seq, seq++);
    ASSERT_EQ(record->data.cap_len, 64u);
    ASSERT_EQ(payload(record)[0], 0x11);
  }
  EXPECT_EQ(seq, 100u);
}

TEST(RingWriter, GivesAGapTheNumberOfTheRecordThatFollows) {
  Ring ring(small_ring());
  const Walker walker(*ring.writer);
  ring.write(0, 10, 1);
  ring.writer->append_gap(0, EBPF_GAP_PERF_FULL, 17, 123456);
  EXPECT_EQ(walker.records(0).size(), 1u) << "visible with the next publish";
  ring.write(0, 10, 2);
  const auto records = walker.records(0);
  ASSERT_EQ(records.size(), 3u);
  const auto* gap = reinterpret_cast<const ebpf_gap*>(records[1]);
  EXPECT_EQ(gap->kind, EBPF_RECORD_GAP);
  EXPECT_EQ(gap->length_bytes, sizeof(ebpf_gap));
  EXPECT_EQ(gap->seq, 1u);
  EXPECT_EQ(gap->count, 17u);
  EXPECT_EQ(gap->timestamp_us, 123456u);
  EXPECT_EQ(gap->cause, EBPF_GAP_PERF_FULL);
  EXPECT_EQ(records[2]->seq, 1u);
  EXPECT_EQ(ebpf_committed_records(walker.segment(0, 0)->committed), 2u);
  EXPECT_EQ(ring.writer->published(0), 2u);
  EXPECT_EQ(ring.writer->gaps(0), 1u);
}

TEST(RingWriter, RollsForGapsToo) {
  Ring ring(small_ring());
  for (uint32_t i = 0; i < 10'000; ++i) ring.writer->append_gap(0, EBPF_GAP_PERF_FULL, i, i);
  ring.writer->publish(0);
  const Walker walker(*ring.writer);
  const auto records = walker.records(0);
  ASSERT_GE(records.size(), 4u * (8192 - 128) / 40);
  for (size_t i = 0; i < records.size(); ++i) {
    const auto* gap = reinterpret_cast<const ebpf_gap*>(records[i]);
    ASSERT_EQ(gap->count, 10'000 - records.size() + i);
    ASSERT_EQ(gap->seq, 0u);
  }
}

TEST(RingWriter, NumbersRecordsAcrossTheWrapOfTheCounter) {
  RingOptions options = small_ring();
  options.initial_seq = UINT64_MAX - 2;
  Ring ring(options);
  for (int i = 0; i < 30; ++i) ring.write(0, 512, 1);
  const Walker walker(*ring.writer);
  EXPECT_EQ(walker.lane(0)->initial_seq, UINT64_MAX - 2);
  EXPECT_EQ(walker.lane(0)->published_seq, 27u);
  EXPECT_EQ(ring.writer->published(0), 30u);
  EXPECT_EQ(ring.writer->initial_seq(), UINT64_MAX - 2);
  const auto records = walker.records(0);
  ASSERT_EQ(records.size(), 30u);
  EXPECT_EQ(records[2]->seq, UINT64_MAX);
  EXPECT_EQ(records[3]->seq, 0u);
  EXPECT_EQ(records[29]->seq, 26u);
}

// ---- with consumers ---------------------------------------------------------------

TEST(RingWriter, NeverTouchesABlockThatAPinNames) {
  Ring ring(small_ring());
  auto attached = ring.slots.attach(STDERR_FILENO, {});
  ASSERT_TRUE(attached);
  const ControlPage page(attached->control_fd.get());
  const Walker walker(*ring.writer);
  for (int i = 0; i < 5; ++i) ring.write(0, 512, static_cast<uint8_t>(i));

  const ebpf_block_header* pinned = walker.segment(0, 0);
  uint32_t index = 0;
  while (walker.block(index) != pinned) ++index;
  shm_exchange_seq_cst_u32(&page->lanes[0].pin, index + 1);
  for (int i = 0; i < 7; ++i) ring.write(0, 512, static_cast<uint8_t>(5 + i));
  std::vector<uint8_t> before(walker.header().block_bytes - 128);
  std::memcpy(before.data(), pinned + 1, before.size());

  for (int i = 0; i < 20'000; ++i) ring.write(0, 512, 0xcc);
  EXPECT_EQ(pinned->generation, 0u) << "retired, whoever looks at it";
  EXPECT_EQ(pinned->committed, ebpf_committed(12 * 672, 12) | EBPF_COMMITTED_SEALED);
  EXPECT_EQ(std::memcmp(before.data(), pinned + 1, before.size()), 0);
  EXPECT_EQ(ring.writer->parked_blocks(), 1u);

  shm_store_release_u32(&page->lanes[0].pin, 0);
  for (int i = 0; i < 100; ++i) ring.write(0, 512, 0xdd);
  EXPECT_EQ(ring.writer->parked_blocks(), 0u);
}

// A consumer that writes random words over its whole control page, all the time.
TEST(RingWriter, IsNotDisturbedByHostilePins) {
  RingOptions options = small_ring();
  options.lane_count = 2;
  options.max_consumers = 3;
  Ring ring(options);
  std::vector<ConsumerSlots::Attached> attached;
  std::vector<std::unique_ptr<ControlPage>> pages;
  for (int i = 0; i < 3; ++i) {
    auto one = ring.slots.attach(STDERR_FILENO, {});
    ASSERT_TRUE(one);
    pages.push_back(std::make_unique<ControlPage>(one->control_fd.get()));
    attached.push_back(std::move(*one));
  }
  const uint32_t blocks = ring.writer->header().block_count;
  std::atomic<bool> stop{false};
  std::thread hostile([&] {
    std::mt19937 random(11);
    while (!stop.load(std::memory_order_relaxed)) {
      auto& page = *pages[random() % pages.size()];
      const auto value = static_cast<uint32_t>(random());
      shm_store_relaxed_u32(&page->lanes[random() % 2].pin,
                            random() % 8 == 0 ? value : value % (blocks + 1));
    }
  });
  for (uint64_t i = 0; i < kManyRecords; ++i) ring.write(i % 2, 256, static_cast<uint8_t>(i));
  stop = true;
  hostile.join();
  EXPECT_EQ(ring.writer->published(0), kManyRecords / 2);
  EXPECT_LE(ring.writer->parked_blocks(), options.max_consumers * options.lane_count);
  const Walker walker(*ring.writer);
  for (uint32_t lane = 0; lane < 2; ++lane) {
    EXPECT_EQ(walker.records(lane).back()->seq, kManyRecords / 2 - 1);
    EXPECT_GE(walker.records(lane).size(), ring.writer->lane_capacity());
  }
}

// A reader of the protocol and nothing more, on one mapping with the writer, so that
// ThreadSanitizer sees every access.
struct PinReader {
  uint64_t delivered = 0, lost = 0, torn = 0, next_seq = 0;

  void run(const ebpf_ring_header& ring, ebpf_control_lane* control, uint64_t until,
           uint32_t pause_every) {
    const auto* base = reinterpret_cast<const uint8_t*>(&ring);
    const auto* lane = reinterpret_cast<const ebpf_lane_header*>(base + ring.lanes_offset);
    const auto* dir = reinterpret_cast<const uint32_t*>(lane + 1);
    for (uint64_t segment = 0; next_seq < until;) {
      const uint64_t head = shm_load_acquire_u64(&lane->head);
      if (head <= segment) continue;
      const uint64_t oldest = head > ring.window_segments ? head - ring.window_segments : 0;
      segment = std::max(segment, oldest);
      const uint32_t index = shm_load_acquire_u32(&dir[segment % ring.dir_entries]);
      const auto* block = reinterpret_cast<const ebpf_block_header*>(
          base + ring.blocks_offset + uint64_t{index} * ring.block_bytes);
      shm_exchange_seq_cst_u32(&control->pin, index + 1);
      if (shm_load_seq_cst_u64(&block->generation) == ebpf_generation(0, segment)) {
        read_segment(block, pause_every);
        ++segment;
      }
      shm_store_release_u32(&control->pin, 0);
    }
  }

  void read_segment(const ebpf_block_header* block, uint32_t pause_every) {
    const uint64_t first = shm_load_relaxed_u64(&block->first_seq);
    lost += first - next_seq;
    next_seq = first;
    const auto* at = reinterpret_cast<const uint8_t*>(block + 1);
    for (uint32_t done = 0;;) {
      const uint64_t word = shm_load_acquire_u64(&block->committed);
      while (done < ebpf_committed_bytes(word)) {
        const auto* record = reinterpret_cast<const ebpf_record*>(at + done);
        if (record->seq != next_seq || record->data.cap_seq != next_seq) ++torn;
        const auto expected = static_cast<uint8_t>(next_seq);
        for (uint32_t i = 0; i < record->data.cap_len; ++i) torn += payload(record)[i] != expected;
        done += record->length_bytes;
        ++next_seq;
        ++delivered;
        if (pause_every != 0 && delivered % pause_every == 0) {
          std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
      }
      if ((word & EBPF_COMMITTED_SEALED) || word == UINT64_MAX) return;
    }
  }
};

TEST(RingWriter, ReadersUnderPinsSeeNoTornRecordAndCountEveryOne) {
  RingOptions options = small_ring();
  Ring ring(options);
  const ebpf_ring_header& header = ring.writer->header();
  auto fast_slot = ring.slots.attach(STDERR_FILENO, {});
  auto slow_slot = ring.slots.attach(STDERR_FILENO, {});
  ASSERT_TRUE(fast_slot && slow_slot);
  ebpf_control_page* fast_page = ring.slots.mapped_page(fast_slot->id);
  ebpf_control_page* slow_page = ring.slots.mapped_page(slow_slot->id);
  PinReader fast, slow;
  std::thread a([&] { fast.run(header, &fast_page->lanes[0], kManyRecords, 0); });
  std::thread b([&] { slow.run(header, &slow_page->lanes[0], kManyRecords, 50); });
  for (uint64_t seq = 0; seq < kManyRecords; ++seq) {
    ring.write(0, 200 + seq % 300, static_cast<uint8_t>(seq), seq % 16 == 15);
  }
  // One segment more, so that the readers find the last record in a sealed one.
  ring.writer->publish(0);
  for (int i = 0; i < 13; ++i) {
    ring.write(0, 512, static_cast<uint8_t>(kManyRecords + static_cast<uint64_t>(i)));
  }
  a.join();
  b.join();
  EXPECT_EQ(fast.torn, 0u);
  EXPECT_EQ(slow.torn, 0u);
  EXPECT_EQ(fast.delivered + fast.lost, fast.next_seq);
  EXPECT_EQ(slow.delivered + slow.lost, slow.next_seq);
  EXPECT_GT(slow.lost, 0u) << "the slow one was to be lapped";
  EXPECT_GT(slow.delivered, 0u);
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The walk over one CPU's perf buffer, on pages that the test writes as a kernel would, or
// as none would.
#include "producer/perf_cpu.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace ebpf {
namespace {

constexpr size_t kPage = 4096;

class Pages {
 public:
  explicit Pages(uint64_t start = 0) : memory_(2 * kPage / sizeof(uint64_t)) {
    meta()->data_head = start;
    meta()->data_tail = start;
  }

  perf_event_mmap_page* meta() { return reinterpret_cast<perf_event_mmap_page*>(memory_.data()); }
  PerfCpu cpu() { return PerfCpu(3, meta(), kPage, kPage); }

  void put(const void* bytes, size_t count) {
    const auto* from = static_cast<const uint8_t*>(bytes);
    auto* data = reinterpret_cast<uint8_t*>(memory_.data()) + kPage;
    for (size_t i = 0; i < count; i++) data[meta()->data_head++ % kPage] = from[i];
  }
  void put_header(uint32_t type, size_t size) {
    const perf_event_header header = {type, 0, static_cast<uint16_t>(size)};
    put(&header, sizeof(header));
  }
  // As the kernel does: the raw size is padded so that the record is a multiple of 8.
  void put_sample(std::string payload) {
    while ((payload.size() + 4) % 8 != 0) payload += '.';
    const auto size = static_cast<uint32_t>(payload.size());
    put_header(PERF_RECORD_SAMPLE, sizeof(perf_event_header) + 4 + size);
    put(&size, sizeof(size));
    put(payload.data(), payload.size());
  }

 private:
  std::vector<uint64_t> memory_;
};

std::string text_of(const EventView& view) {
  std::string text(view.size(), '\0');
  view.copy(text.data(), 0, view.size());
  return text;
}

std::vector<std::string> take_all(PerfCpu& cpu) {
  std::vector<std::string> all;
  for (EventView view; cpu.peek(&view); cpu.pop()) all.push_back(text_of(view));
  return all;
}

TEST(PerfCpu, ShowsWhatWasThereAtTheSnapshot) {
  Pages pages;
  PerfCpu cpu = pages.cpu();
  EventView view;
  EXPECT_FALSE(cpu.peek(&view));
  pages.put_sample("one.");
  EXPECT_FALSE(cpu.peek(&view));
  cpu.snapshot();
  pages.put_sample("two.");
  EXPECT_EQ(take_all(cpu), std::vector<std::string>{"one."});
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), std::vector<std::string>{"two."});
  EXPECT_EQ(cpu.bad_records(), 0u);
}

TEST(PerfCpu, GivesSpaceBackOnRelease) {
  Pages pages;
  PerfCpu cpu = pages.cpu();
  pages.put_sample("some");
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu).size(), 1u);
  EXPECT_EQ(pages.meta()->data_tail, 0u);
  cpu.release();
  EXPECT_EQ(pages.meta()->data_tail, pages.meta()->data_head);
}

TEST(PerfCpu, PeekShowsTheSameUntilPop) {
  Pages pages;
  PerfCpu cpu = pages.cpu();
  pages.put_sample("same");
  cpu.snapshot();
  EventView view;
  ASSERT_TRUE(cpu.peek(&view));
  ASSERT_TRUE(cpu.peek(&view));
  EXPECT_EQ(text_of(view), "same");
  cpu.release();
  EXPECT_EQ(pages.meta()->data_tail, 0u);
}

TEST(PerfCpu, ReadsRecordsThatWrapAtEveryPlace) {
  const std::string payload = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";  // 44 bytes
  for (uint64_t start = kPage - 64; start <= kPage; start += 8) {
    Pages pages(5 * kPage + start);
    PerfCpu cpu = pages.cpu();
    pages.put_sample(payload);
    cpu.snapshot();
    EventView view;
    ASSERT_TRUE(cpu.peek(&view)) << start;
    EXPECT_EQ(text_of(view), payload);
    for (uint32_t at = 0; at < payload.size(); at++) {
      char rest[64] = {};
      view.copy(rest, at, static_cast<uint32_t>(payload.size()) - at);
      EXPECT_EQ(rest, payload.substr(at)) << "start " << start << " at " << at;
      const auto count = static_cast<uint32_t>(payload.size()) - at;
      const uint8_t* in_place = view.in_place(at, count);
      const bool wraps = at < view.first_bytes && view.second_bytes > 0;
      ASSERT_EQ(in_place == nullptr, wraps) << "start " << start << " at " << at;
      if (!wraps) {
        EXPECT_EQ(std::memcmp(in_place, rest, count), 0);
      }
    }
    EXPECT_EQ(view.in_place(0, view.first_bytes), view.first);
    EXPECT_EQ(cpu.bad_records(), 0u);
  }
}

TEST(PerfCpu, FillsTheWholeBuffer) {
  Pages pages(kPage / 2);
  PerfCpu cpu = pages.cpu();
  for (int i = 0; i < 64; i++) pages.put_sample(std::string(52, static_cast<char>('A' + i)));
  ASSERT_EQ(pages.meta()->data_head, kPage / 2 + kPage);
  cpu.snapshot();
  const auto all = take_all(cpu);
  ASSERT_EQ(all.size(), 64u);
  for (size_t i = 0; i < all.size(); i++) EXPECT_EQ(all[i][0], static_cast<char>('A' + i));
}

TEST(PerfCpu, StepsOverOtherRecords) {
  Pages pages;
  PerfCpu cpu = pages.cpu();
  const uint64_t lost[2] = {7, 42};
  pages.put_header(PERF_RECORD_LOST, sizeof(perf_event_header) + sizeof(lost));
  pages.put(lost, sizeof(lost));
  pages.put_sample("kept");
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), std::vector<std::string>{"kept"});
  EXPECT_EQ(cpu.bad_records(), 0u);
}

// Whatever stands there, the walk ends, touches nothing outside, and counts it.
TEST(PerfCpu, EndsTheSnapshotAtARecordThatCannotBe) {
  for (const size_t size : {0, 4, 7, 9, 20, 64, 65528}) {
    Pages pages;
    PerfCpu cpu = pages.cpu();
    pages.put_sample("good");
    pages.put_header(PERF_RECORD_SAMPLE, size);
    const uint64_t zero = 0;
    pages.put(&zero, sizeof(zero));
    cpu.snapshot();
    const auto all = take_all(cpu);
    ASSERT_GE(all.size(), 1u) << size;
    EXPECT_EQ(all[0], "good");
    EXPECT_EQ(cpu.bad_records(), 1u) << size;
    cpu.release();
    EXPECT_EQ(pages.meta()->data_tail, pages.meta()->data_head);
    pages.put_sample("next");
    cpu.snapshot();
    EXPECT_EQ(take_all(cpu), std::vector<std::string>{"next"});
  }
}

TEST(PerfCpu, RefusesARawSizeBeyondItsRecord) {
  Pages pages;
  PerfCpu cpu = pages.cpu();
  pages.put_header(PERF_RECORD_SAMPLE, 16);
  const uint32_t raw[2] = {5, 0};
  pages.put(raw, sizeof(raw));
  cpu.snapshot();
  EventView view;
  EXPECT_FALSE(cpu.peek(&view));
  EXPECT_EQ(cpu.bad_records(), 1u);
}

TEST(PerfCpu, RefusesAHeadThatJumped) {
  for (const uint64_t head : {uint64_t{2} * kPage + 8, ~uint64_t{7}}) {
    Pages pages;
    PerfCpu cpu = pages.cpu();
    pages.meta()->data_head = head;
    cpu.snapshot();
    EventView view;
    EXPECT_FALSE(cpu.peek(&view));
    EXPECT_EQ(cpu.bad_records(), 1u);
  }
}

}  // namespace
}  // namespace ebpf

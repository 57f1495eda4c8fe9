// SPDX-License-Identifier: Apache-2.0
// Records that are copied past the caches are the same records.
#include "producer/stream_copy.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "ring_support.h"

namespace ebpf {
namespace {

constexpr uint32_t kBurst = 32;  // of about 13 KiB: enough for the next one to be streamed
constexpr uint8_t kUntouched = 0xee;

std::vector<uint8_t> counting(size_t bytes) {
  std::vector<uint8_t> values(bytes);
  std::iota(values.begin(), values.end(), uint8_t{1});
  return values;
}

TEST(StreamCopy, WritesWhatAPlainCopyWritesAndNothingElse) {
  const std::vector<uint8_t> from = counting(300);
  for (size_t start = 0; start < 64; start += 8) {
    for (size_t bytes = 0; bytes + 8 <= from.size(); ++bytes) {
      alignas(64) uint8_t streamed[512];
      alignas(64) uint8_t plain[512];
      std::memset(streamed, kUntouched, sizeof streamed);
      std::memset(plain, kUntouched, sizeof plain);
      stream_copy(streamed + start, from.data() + bytes % 8, bytes);
      stream_fence();
      plain_copy(plain + start, from.data() + bytes % 8, bytes);
      ASSERT_EQ(std::memcmp(streamed, plain, sizeof plain), 0) << bytes << " bytes at " << start;
    }
  }
}

TEST(RingWriter, AppendedRecordsAreWholeWhetherStreamedOrNot) {
  RingOptions options;
  options.ring_records = 400;
  options.max_consumers = 1;
  Ring ring(options);
  const std::vector<uint8_t> bytes = counting(600);
  SK_BPF_DATA data{};
  // The first burst is copied plainly, the others and the first single one streamed, the last
  // ones plainly again; gap notices and segment borders come in between.
  uint32_t written = 0;
  const auto append = [&] {
    data.cap_len = written * 37 % 513;
    data.socket_id = written;
    data.cap_data = reinterpret_cast<char*>(&ring);
    ASSERT_NE(ring.writer->append(0, data, bytes.data() + written % 8), nullptr);
    ++written;
  };
  for (uint32_t burst = 0; burst < 3; ++burst) {
    for (uint32_t i = 0; i < kBurst; ++i) append();
    ring.writer->append_gap(0, EBPF_GAP_NO_ROOM, 1, 1);
    ring.writer->publish(0);
  }
  for (uint32_t single = 0; single < 3; ++single) {
    append();
    ring.writer->publish(0);
  }

  uint32_t seen = 0;
  const Walker walker(*ring.writer);
  for (const ebpf_record* record : walker.records(0)) {
    if (record->kind == EBPF_RECORD_GAP) continue;
    const uint32_t cap_len = seen * 37 % 513;
    ASSERT_EQ(record->kind, EBPF_RECORD_DATA);
    EXPECT_EQ(record->seq, seen);
    EXPECT_EQ(record->length_bytes, ebpf_record_bytes(cap_len));
    EXPECT_EQ(record->reserved, 0u);
    EXPECT_EQ(record->data.socket_id, seen);
    EXPECT_EQ(record->data.cap_len, cap_len);
    EXPECT_EQ(record->data.cap_data, nullptr) << "a pointer means nothing elsewhere";
    EXPECT_EQ(std::memcmp(record + 1, bytes.data() + seen % 8, cap_len), 0) << seen;
    const auto* end = reinterpret_cast<const uint8_t*>(record + 1) + cap_len;
    for (uint32_t i = 0; i < -cap_len % 8; ++i) EXPECT_EQ(end[i], 0) << "nothing leaks";
    ++seen;
  }
  EXPECT_EQ(seen, written);
  EXPECT_EQ(ring.writer->published(0), written);
}

TEST(RingWriter, AppendCountsWhatIsTooLarge) {
  RingOptions options;
  options.ring_records = 40;
  Ring ring(options);
  SK_BPF_DATA data{};
  data.cap_len = options.cap_bytes + 1;
  const std::vector<uint8_t> bytes = counting(data.cap_len);
  EXPECT_EQ(ring.writer->append(0, data, bytes.data()), nullptr);
  EXPECT_EQ(ring.writer->lost(0), 1u);
  EXPECT_EQ(ring.writer->published(0), 0u);
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The walk over one CPU's BPF ring buffer, on memory that the test writes as a kernel would, or
// as none would.
#include "producer/ring_cpu.h"

#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cstring>
#include <string>
#include <vector>

namespace ebpf {
namespace {

constexpr size_t kBytes = 4096;

class Ring {
 public:
  explicit Ring(uint64_t start = 0) : memory_(2 * kBytes / 8), read_(start), written_(start) {}

  RingCpu cpu() {
    return RingCpu(3, &read_, &written_, reinterpret_cast<const uint8_t*>(memory_.data()), kBytes);
  }
  // Where the record's length stands, in case it changes.
  uint64_t put(const std::string& payload, uint32_t flags = 0) {
    const uint64_t at = written_;
    set_length(at, static_cast<uint32_t>(payload.size()) | flags);
    for (size_t i = 0; i < payload.size(); i++) {
      put_byte(at + BPF_RINGBUF_HDR_SZ + i, static_cast<uint8_t>(payload[i]));
    }
    written_ += (payload.size() + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
    return at;
  }
  void set_length(uint64_t at, uint32_t length) {
    for (size_t i = 0; i < 4; i++) put_byte(at + i, static_cast<uint8_t>(length >> 8 * i));
  }
  uint64_t read() const { return read_; }
  uint64_t written() const { return written_; }
  void pretend_written(uint64_t at) { written_ = at; }

 private:
  // Every byte lies at two places.
  void put_byte(uint64_t at, uint8_t value) {
    auto* bytes = reinterpret_cast<uint8_t*>(memory_.data());
    bytes[at % kBytes] = value;
    bytes[at % kBytes + kBytes] = value;
  }

  std::vector<uint64_t> memory_;
  uint64_t read_;
  uint64_t written_;
};

std::vector<std::string> take_all(RingCpu& cpu) {
  std::vector<std::string> all;
  for (EventView view; cpu.peek(&view); cpu.pop()) {
    std::string text(view.size(), '\0');
    view.copy(text.data(), 0, view.size());
    EXPECT_NE(view.in_place(0, view.size()), nullptr) << "no record wraps";
    all.push_back(text);
  }
  return all;
}

using Texts = std::vector<std::string>;

TEST(RingCpu, ShowsWhatWasThereAtTheSnapshotAndGivesItBackOnRelease) {
  Ring ring;
  RingCpu cpu = ring.cpu();
  EXPECT_EQ(take_all(cpu), Texts{});
  ring.put("one");
  EXPECT_EQ(take_all(cpu), Texts{});
  cpu.snapshot();
  ring.put("two, longer");
  EXPECT_EQ(take_all(cpu), Texts{"one"});
  EXPECT_EQ(ring.read(), 0u);
  cpu.release();
  EXPECT_EQ(ring.read(), 16u);
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{"two, longer"});
  EXPECT_EQ(cpu.bad_records(), 0u);
}

TEST(RingCpu, StopsAtARecordThatIsBeingWritten) {
  Ring ring;
  RingCpu cpu = ring.cpu();
  ring.put("done");
  const uint64_t at = ring.put("soon", BPF_RINGBUF_BUSY_BIT);
  ring.put("behind");
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{"done"});
  ring.set_length(at, 4);
  EXPECT_EQ(take_all(cpu), (Texts{"soon", "behind"}));
  EXPECT_EQ(cpu.bad_records(), 0u);
}

TEST(RingCpu, StepsOverWhatWasDiscarded) {
  Ring ring;
  RingCpu cpu = ring.cpu();
  ring.put("not meant", BPF_RINGBUF_DISCARD_BIT);
  ring.put("meant");
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{"meant"});
}

TEST(RingCpu, GoesRoundAndRound) {
  Ring ring(UINT64_MAX - 8 * kBytes + 1);
  RingCpu cpu = ring.cpu();
  for (int i = 0; i < 1000; i++) {
    const std::string text(static_cast<size_t>(i), static_cast<char>('a' + i % 26));
    ring.put(text);
    cpu.snapshot();
    ASSERT_EQ(take_all(cpu), Texts{text});
    cpu.release();
  }
  EXPECT_EQ(ring.read(), ring.written());
  EXPECT_EQ(cpu.bad_records(), 0u);
}

TEST(RingCpu, ThrowsAwayWhatCannotBe) {
  Ring ring;
  RingCpu cpu = ring.cpu();
  ring.set_length(ring.put("longer than what was written"), 2000);
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{});
  EXPECT_EQ(cpu.bad_records(), 1u);
  ring.pretend_written(ring.written() + 2 * kBytes);
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{});
  EXPECT_EQ(cpu.bad_records(), 2u);
  ring.put("sound");
  cpu.snapshot();
  EXPECT_EQ(take_all(cpu), Texts{"sound"});
}

}  // namespace
}  // namespace ebpf

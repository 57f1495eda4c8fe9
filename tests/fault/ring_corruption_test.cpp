// SPDX-License-Identifier: Apache-2.0
// Bits of a ring flipped at random, against the reader on a private copy of it: refused, or
// read as far as it makes sense; never a crash, a read outside of it, or a loop without end.
// EBPF_FAULT_FLIPS is how many bits are flipped in all.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr uint64_t kRoundLimitUs = 10'000'000;  // for microseconds of work, on a busy machine

// Memory that ends where it says: what lies beside it cannot be touched.
class Fenced {
 public:
  explicit Fenced(size_t bytes) : bytes_(bytes) {
    whole_ = mmap(nullptr, bytes + 2 * kFence, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    at_ = static_cast<uint8_t*>(whole_) + kFence;
    EXPECT_EQ(mprotect(at_, bytes, PROT_READ | PROT_WRITE), 0);
  }
  ~Fenced() { munmap(whole_, bytes_ + 2 * kFence); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  uint8_t* at() const { return at_; }

 private:
  static constexpr size_t kFence = 1 << 20;
  size_t bytes_;
  void* whole_;
  uint8_t* at_;
};

struct Seen {
  uint64_t records = 0;
  uint64_t sum = 0;
};

// Touches every byte that the reader vouches for.
int take_record(const ebpf_record* record, uint32_t lane, void* user) {
  auto* seen = static_cast<Seen*>(user);
  ++seen->records;
  seen->sum += lane + record->data.cap_len;
  const uint8_t* payload = ebpf_record_payload(record);
  for (uint32_t i = 0; i < record->data.cap_len; ++i) seen->sum += payload[i];
  return 0;
}

class CorruptRing {
 public:
  CorruptRing() : ring_(two_lanes()), copy_(ring_.bytes()), page_(EBPF_CONTROL_BYTES) {
    ring_.write(0, 500);
    ring_.write(1, 77);
    ring_.writer->append_gap(1, EBPF_GAP_PERF_FULL, 5, 1);
    ring_.writer->publish_all();
  }

  // Three places deserve most: the header, the lanes with their directories, the heads of
  // blocks and records. The rest is payload.
  uint64_t flip(Dice& dice) {
    std::memcpy(copy_.at(), ring_.base(), ring_.bytes());
    const ebpf_ring_header& h = ring_.writer->header();
    const uint64_t flips = dice.between(1, 40);
    const uint64_t kind = dice.below(4);
    for (uint64_t i = 0; i < flips; ++i) {
      uint64_t at = dice.below(ring_.bytes());
      if (kind == 0) at = dice.below(sizeof(ebpf_ring_header));
      if (kind == 1) {
        at = h.lanes_offset + dice.below(h.lane_count) * h.lane_bytes +
             dice.below(sizeof(ebpf_lane_header) + h.dir_entries * sizeof(uint32_t));
      }
      if (kind == 2) {
        at = h.blocks_offset + dice.below(h.block_count) * h.block_bytes + dice.below(400);
      }
      copy_.at()[at] ^= static_cast<uint8_t>(1u << dice.below(8));
    }
    return flips;
  }

  // How far it came: 0 refused, 1 no place to start from, 2 read.
  int read(Dice& dice) {
    auto view = RingView::create(copy_.at(), ring_.bytes());
    if (!view) {
      EXPECT_FALSE(view.error().message.empty());
      return 0;
    }
    std::memset(page_.at(), 0, EBPF_CONTROL_BYTES);
    const Join joins[] = {Join::kTail, Join::kOldest, Join::kFirst};
    auto reader = RingReader::create(*view, reinterpret_cast<ebpf_control_page*>(page_.at()), ~0ull,
                                     joins[dice.below(3)]);
    if (!reader) return 1;
    Seen seen;
    Sink sink;
    sink.on_record = take_record;
    sink.user = &seen;
    for (int i = 0; i < 8; ++i) (*reader)->read(4096, sink);
    if (dice.below(2) == 0) {
      (*reader)->orphan();
      for (int i = 0; i < 4; ++i) (*reader)->read(4096, sink);
      (*reader)->close_account(sink);
    }
    for (const LaneReader& lane : (*reader)->lanes()) {
      const LaneCounts counts = lane.counts();
      EXPECT_EQ(counts.next_seq - counts.join_seq,
                counts.delivered + counts.filtered + counts.lost);
    }
    EXPECT_EQ((*reader)->counts().delivered, seen.records);
    return 2;
  }

 private:
  static RingOptions two_lanes() {
    RingOptions options = small_options(2);
    options.ring_records = 64;
    options.max_consumers = 2;
    return options;
  }

  TestRing ring_;
  Fenced copy_;
  Fenced page_;
};

TEST(RingCorruption, NeverLeadsTheReaderAstray) {
  Dice dice;
  CorruptRing ring;
  const uint64_t wanted = env_number("EBPF_FAULT_FLIPS", rounds() * 5000);
  uint64_t flips = 0;
  uint64_t outcomes[3] = {};
  for (uint64_t round = 0; flips < wanted && !HasFailure(); ++round) {
    SCOPED_TRACE(round_text(dice, round));
    flips += ring.flip(dice);
    const uint64_t begun_us = now_us();
    alarm(kRoundLimitUs / 1000000);  // a loop without end ends the test
    ++outcomes[ring.read(dice)];
    alarm(0);
    EXPECT_LT(now_us() - begun_us, kRoundLimitUs);
  }
  printf("%" PRIu64 " flips; rings refused: %" PRIu64 ", without a start: %" PRIu64
         ", read: %" PRIu64 "\n",
         flips, outcomes[0], outcomes[1], outcomes[2]);
  EXPECT_GT(outcomes[0], 0u);
  EXPECT_GT(outcomes[2], 0u);
}

}  // namespace
}  // namespace ebpf::fault

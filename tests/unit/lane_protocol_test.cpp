// SPDX-License-Identifier: Apache-2.0
// The protocol core on memory of the test's own, which writes down every shared operation.
#include "producer/lane_protocol.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

namespace ebpf {
namespace {

struct Word {
  std::string name;
  uint64_t value = 0;
};

std::vector<std::string> operations;

struct LoggedAtomics {
  static void note(const char* how, Word* word, uint64_t value) {
    word->value = value;
    operations.push_back(word->name + how);
  }
  static void store_relaxed(Word* word, uint64_t value) { note(" relaxed", word, value); }
  static void store_release(Word* word, uint64_t value) { note(" release", word, value); }
  static void store_seq_cst(Word* word, uint64_t value) { note(" seq_cst", word, value); }
};

struct TestRing {
  struct Block {
    Word generation{"generation"}, first_seq{"first_seq"}, committed{"committed"};
  };
  struct Lane {
    Word head{"head"}, published_seq{"published_seq"};
    std::vector<Word> dir{16, Word{"dir"}};
  };
  std::vector<Block> blocks;
  std::vector<Lane> lanes;
  std::vector<uint32_t> pins;  // block indices
};

struct TestMemory {
  using Atomics = LoggedAtomics;
  TestRing* ring;
  Word* generation(uint32_t block) const { return &ring->blocks[block].generation; }
  Word* first_seq(uint32_t block) const { return &ring->blocks[block].first_seq; }
  Word* committed(uint32_t block) const { return &ring->blocks[block].committed; }
  Word* dir(uint32_t lane, uint64_t n) const { return &ring->lanes[lane].dir[n % 16]; }
  Word* head(uint32_t lane) const { return &ring->lanes[lane].head; }
  Word* published_seq(uint32_t lane) const { return &ring->lanes[lane].published_seq; }
  template <class Visit>
  void each_pin(Visit&& visit) const {
    operations.push_back("pins");
    for (const uint32_t pin : ring->pins) visit(pin);
  }
};

constexpr uint32_t kWindow = 3;

struct Fixture {
  Fixture(uint32_t lanes, uint32_t blocks)
      : protocol(memory(lanes, blocks), lanes, kWindow, blocks, 0) {
    for (uint32_t lane = 0; lane < lanes; ++lane) protocol.roll(lane);
    operations.clear();
  }
  TestMemory memory(uint32_t lanes, uint32_t blocks) {
    ring.blocks.resize(blocks);
    ring.lanes.resize(lanes);
    return {&ring};
  }
  TestRing ring;
  LaneProtocol<TestMemory> protocol;
};

TEST(LaneProtocol, PublishesWithOneReleaseStore) {
  Fixture f(1, 8);
  f.protocol.lane(0).bytes = 160;
  f.protocol.lane(0).records = 1;
  f.protocol.publish(0);
  EXPECT_EQ(operations, (std::vector<std::string>{"published_seq relaxed", "committed release"}));
  operations.clear();
  f.protocol.publish(0);
  EXPECT_TRUE(operations.empty()) << "nothing new: nothing to store";
}

TEST(LaneProtocol, RetiresBeforeItScansThePinsAndOpensAfterwards) {
  Fixture f(1, 8);
  for (uint32_t n = 1; n < kWindow; ++n) f.protocol.roll(0);
  operations.clear();
  f.protocol.roll(0);
  EXPECT_EQ(operations,
            (std::vector<std::string>{"published_seq relaxed", "committed release",  // seals
                                      "generation seq_cst", "pins",                  // retires
                                      "first_seq relaxed", "committed relaxed",
                                      "generation release", "dir release", "head release"}));
}

TEST(LaneProtocol, LeavesAPinnedBlockAloneUntilItIsUnpinned) {
  Fixture f(1, 8);
  const uint32_t pinned = f.protocol.lane(0).block;
  f.ring.pins = {pinned};
  for (int n = 0; n < 50; ++n) {
    f.protocol.roll(0);
    ASSERT_NE(f.protocol.lane(0).block, pinned);
  }
  EXPECT_EQ(f.protocol.pool().parked(), 1u);
  const size_t free = f.protocol.pool().free();
  f.ring.pins = {};
  f.protocol.roll(0);
  EXPECT_EQ(f.protocol.pool().parked(), 0u);
  EXPECT_EQ(f.protocol.pool().free(), free + 1);
}

// The size of the pool is the promise that a free block always exists. Pins that change at
// will, with valid and invalid values, on several lanes, must not break it.
TEST(LaneProtocol, AlwaysFindsAFreeBlockWhateverIsPinned) {
  constexpr uint32_t kLanes = 3;
  constexpr uint32_t kConsumers = 4;
  constexpr uint32_t kBlocks = kLanes * kWindow + kConsumers * kLanes + kLanes;
  Fixture f(kLanes, kBlocks);
  std::mt19937 random(7);
  f.ring.pins.assign(kConsumers * kLanes, UINT32_MAX);
  size_t least_free = kBlocks;
  for (int n = 0; n < 200'000; ++n) {
    for (uint32_t& pin : f.ring.pins) {
      if (random() % 4 == 0) pin = random() % 8 == 0 ? random() : random() % kBlocks;
    }
    // At times the worst case: every pin on a block of its own that is about to retire.
    if (n % 1000 < 100) {
      for (uint32_t i = 0; i < f.ring.pins.size(); ++i) f.ring.pins[i] = (i + n / 1000) % kBlocks;
    }
    const uint32_t lane = random() % kLanes;
    ASSERT_GT(f.protocol.pool().free(), 0u);
    f.protocol.roll(lane);
    operations.clear();
    least_free = std::min(least_free, f.protocol.pool().free());
    ASSERT_LE(f.protocol.pool().parked(), f.ring.pins.size());

    std::set<uint32_t> live;
    for (uint32_t l = 0; l < kLanes; ++l) {
      const auto& state = f.protocol.lane(l);
      const uint64_t count = std::min<uint64_t>(state.head, kWindow);
      for (uint64_t i = 0; i < count; ++i) live.insert(state.live[(state.head - 1 - i) % kWindow]);
      ASSERT_EQ(f.ring.blocks[state.block].generation.value, ebpf_generation(l, state.head - 1));
    }
    ASSERT_EQ(live.size() + f.protocol.pool().free() + f.protocol.pool().parked(), kBlocks);
  }
  EXPECT_GE(least_free, 1u);
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// A recorded file goes through the publisher into a real ring.
#include "producer/replay.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "producer/trace_recorder.h"
#include "producer/wall_clock.h"

namespace {

struct Rig {
  explicit Rig(uint32_t lanes) {
    char name[] = "/tmp/replay_test.XXXXXX";
    folder = mkdtemp(name);
    ebpf::RingOptions options;
    options.lane_count = lanes;
    options.ring_records = 1024;
    options.epoch = 1;
    slots = std::make_unique<ebpf::ConsumerSlots>(options.max_consumers, lanes, options.epoch);
    auto created = ebpf::RingWriter::create(options, *slots);
    EXPECT_TRUE(created) << created.error().message;
    writer = std::move(*created);
    publisher = std::make_unique<ebpf::Publisher>(*writer, *slots, nullptr);
  }
  ~Rig() { std::filesystem::remove_all(folder); }

  // `count` records of as many sockets, `distance_us` apart, the protocols alternating.
  std::string file(uint32_t count, uint64_t distance_us) {
    const std::string path = folder + "/trace";
    auto recorder = ebpf::TraceRecorder::create(path, 512, log);
    EXPECT_TRUE(recorder);
    for (uint32_t i = 0; i < count; ++i) {
      std::vector<uint64_t> memory(ebpf_record_bytes(8) / 8);
      auto* out = reinterpret_cast<ebpf_record*>(memory.data());
      out->length_bytes = ebpf_record_bytes(8);
      out->kind = EBPF_RECORD_DATA;
      out->data.socket_id = i;
      out->data.l7_protocal_hint = i % 2 ? SOCK_DATA_DNS : SOCK_DATA_HTTP1;
      out->data.cap_len = 8;
      out->data.timestamp = 1'000'000 + i * distance_us;
      (*recorder)->add(*out);
    }
    EXPECT_TRUE((*recorder)->finish());
    return path;
  }

  void play(const ebpf::ReplayOptions& options) {
    auto player = ebpf::TracePlayer::open(options.path);
    ASSERT_TRUE(player) << player.error().message;
    ebpf::Replay replay(options, std::move(*player), *publisher, *slots, log);
    replay.run(stop);
    EXPECT_TRUE(replay.finished());
    replayed = replay.records();
  }

  std::string folder;
  std::unique_ptr<ebpf::ConsumerSlots> slots;
  std::unique_ptr<ebpf::RingWriter> writer;
  std::unique_ptr<ebpf::Publisher> publisher;
  std::atomic<bool> stop{false};
  uint64_t replayed = 0;
  ebpf::LogSink log = [](ebpf::LogLevel, const std::string&) {};
};

TEST(Replay, PublishesEveryRecordOnItsLane) {
  Rig rig(4);
  rig.play({.path = rig.file(500, 1), .speed = 0});
  EXPECT_EQ(rig.replayed, 500u);
  std::vector<uint64_t> expected(4);
  for (uint64_t id = 0; id < 500; ++id) ++expected[ebpf_lane_of(id, 4)];
  for (uint32_t lane = 0; lane < 4; ++lane) EXPECT_EQ(rig.writer->published(lane), expected[lane]);
  EXPECT_EQ(rig.publisher->protocol(ebpf_protocol_index(SOCK_DATA_HTTP1)), 250u);
  EXPECT_EQ(rig.publisher->protocol(ebpf_protocol_index(SOCK_DATA_DNS)), 250u);
}

TEST(Replay, KeepsTheDistancesInTimeScaledBySpeed) {
  Rig rig(1);
  const std::string path = rig.file(11, 20'000);  // 200 ms of trace
  const uint64_t began = ebpf::monotonic_ns();
  rig.play({.path = path, .speed = 1});
  const uint64_t original_ns = ebpf::monotonic_ns() - began;
  EXPECT_GE(original_ns, 200'000'000u);
  const uint64_t again = ebpf::monotonic_ns();
  rig.play({.path = path, .speed = 10});
  const uint64_t fast_ns = ebpf::monotonic_ns() - again;
  EXPECT_GE(fast_ns, 20'000'000u);
  EXPECT_LT(fast_ns, original_ns);
}

TEST(Replay, LoopsUntilItIsStopped) {
  Rig rig(1);
  ebpf::ReplayOptions options{.path = rig.file(100, 10), .speed = 0, .loop = true};
  auto player = ebpf::TracePlayer::open(options.path);
  ASSERT_TRUE(player) << player.error().message;
  ebpf::Replay replay(options, std::move(*player), *rig.publisher, *rig.slots, rig.log);
  std::thread thread([&] { replay.run(rig.stop); });
  while (replay.records() < 1000) std::this_thread::yield();
  rig.stop = true;
  thread.join();
  EXPECT_TRUE(replay.finished());
  EXPECT_EQ(rig.writer->published(0), replay.records());
}

TEST(Replay, DoesNotLoopOverAFileWithoutRecords) {
  Rig rig(1);
  rig.play({.path = rig.file(0, 0), .speed = 0, .loop = true});
  EXPECT_EQ(rig.replayed, 0u);
}

TEST(Replay, CountsBurstsOfSixteen) {
  Rig rig(1);
  rig.play({.path = rig.file(160, 0), .speed = 0});
  EXPECT_EQ(rig.publisher->bursts(0), 10u);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// The recorded trace: what was written is read again, what is damaged is not believed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "producer/trace_player.h"
#include "producer/trace_recorder.h"

namespace {

using ebpf::TracePlayer;
using ebpf::TraceRecorder;
using Step = ebpf::TracePlayer::Step;

class TraceFile : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/trace_file_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ / "trace.ebpfrec";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<TraceRecorder> record() {
    auto recorder = TraceRecorder::create(
        path_, EBPF_CAP_BYTES_DEFAULT,
        [this](ebpf::LogLevel, const std::string& message) { logged_ += message + "\n"; });
    EXPECT_TRUE(recorder) << recorder.error().message;
    return std::move(*recorder);
  }

  // Records 0..count-1: record i has i payload bytes of value i; then a gap.
  void write_records(uint32_t count, bool finish = true) {
    auto recorder = record();
    for (uint32_t i = 0; i < count; ++i) {
      std::vector<uint64_t> memory(ebpf_record_bytes(i) / 8);
      auto* out = reinterpret_cast<ebpf_record*>(memory.data());
      out->length_bytes = ebpf_record_bytes(i);
      out->kind = EBPF_RECORD_DATA;
      out->data.socket_id = 1000 + i;
      out->data.cap_len = i;
      out->data.timestamp = 5'000'000 + i;
      std::memset(out + 1, static_cast<int>(i), i);
      recorder->add(*out);
    }
    recorder->add_gap(EBPF_GAP_PERF_FULL, 77, 6'000'000);
    if (finish) {
      EXPECT_TRUE(recorder->finish());
    }
  }

  // What stands behind the last whole frame.
  Step last_step() {
    auto player = TracePlayer::open(path_);
    Step step;
    do {
      step = (*player)->next();
    } while (step == Step::kRecord || step == Step::kGap);
    EXPECT_EQ((*player)->next(), step) << "it stays at its end";
    return step;
  }

  std::string content() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void set_content(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::string refusal() {
    auto player = TracePlayer::open(path_);
    return player ? "" : player.error().message;
  }

  uint32_t readable_frames() {
    auto player = TracePlayer::open(path_);
    if (!player) return 0;
    uint32_t frames = 0;
    for (Step step = (*player)->next(); step == Step::kRecord || step == Step::kGap;
         step = (*player)->next()) {
      ++frames;
    }
    return frames;
  }

  void overwrite(uint64_t at, char value) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(value);
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
  std::string logged_;
};

TEST_F(TraceFile, GivesBackWhatWasRecorded) {
  write_records(100);
  auto player = TracePlayer::open(path_);
  ASSERT_TRUE(player) << player.error().message;
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_EQ((*player)->next(), Step::kRecord);
    ASSERT_EQ((*player)->record().data.socket_id, 1000u + i);
    ASSERT_EQ((*player)->timestamp_us(), 5'000'000u + i);
    for (uint32_t k = 0; k < i; ++k) ASSERT_EQ((*player)->payload()[k], i);
  }
  ASSERT_EQ((*player)->next(), Step::kGap);
  EXPECT_EQ((*player)->gap().count, 77u);
  EXPECT_EQ((*player)->timestamp_us(), 6'000'000u);
  EXPECT_EQ((*player)->next(), Step::kEnd);
}

TEST_F(TraceFile, IsPrivate) {
  std::ofstream(path_) << "was here before";
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  write_records(1);
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(readable_frames(), 2u);
}

TEST_F(TraceFile, IsNotWrittenThroughASymbolicLink) {
  const auto target = folder_ / "target";
  std::ofstream(target) << "precious";
  std::filesystem::create_symlink(target, path_);
  auto recorder = TraceRecorder::create(path_, 512, [](ebpf::LogLevel, const std::string&) {});
  ASSERT_FALSE(recorder);
  EXPECT_EQ(recorder.error().code, ELOOP);
  EXPECT_EQ(std::filesystem::file_size(target), 8u);
}

TEST_F(TraceFile, IsReadUpToItsLastWholeFrameWhereverItIsCut) {
  write_records(12);
  const auto whole = std::filesystem::file_size(path_);
  uint32_t last = readable_frames();
  EXPECT_EQ(last, 13u);
  for (auto size = whole - 1; size >= sizeof(trace_file_header); --size) {
    std::filesystem::resize_file(path_, size);
    const uint32_t frames = readable_frames();
    ASSERT_LE(frames, last);
    ASSERT_EQ(last_step(), Step::kCut) << "cut to " << size << " bytes";
    last = frames;
  }
  EXPECT_EQ(last, 0u);
}

TEST_F(TraceFile, IsWholeOnlyWithItsEnd) {
  write_records(3);
  EXPECT_EQ(last_step(), Step::kEnd);
  const std::string whole = content();
  write_records(3, false);
  EXPECT_EQ(last_step(), Step::kCut);
  EXPECT_EQ(readable_frames(), 4u);
  EXPECT_EQ(whole.substr(64, content().size() - 64), content().substr(64));
  // A whole frame that is missing from the middle shows at the end.
  const size_t first_frame = sizeof(trace_file_frame) + ebpf_record_bytes(0);
  set_content(whole.substr(0, 64) + whole.substr(64 + first_frame));
  EXPECT_EQ(last_step(), Step::kCut);
}

TEST_F(TraceFile, OfVersionOneNeedsNoEnd) {
  write_records(3, false);
  std::string bytes = content();
  trace_file_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = 1;
  header.crc = ebpf::trace_crc(&header, offsetof(trace_file_header, crc));
  bytes.replace(0, sizeof header, reinterpret_cast<const char*>(&header), sizeof header);
  set_content(bytes);
  EXPECT_EQ(last_step(), Step::kEnd);
  EXPECT_EQ(readable_frames(), 4u);
}

TEST_F(TraceFile, IsTakenApartFromPiecesOfAnySize) {
  write_records(40);
  const std::string bytes = content();
  const auto* at = reinterpret_cast<const uint8_t*>(bytes.data());
  for (size_t piece = 1; piece < 600; piece += 7) {
    auto frames = ebpf::TraceFrames::open({at, bytes.size()}, "it");
    ASSERT_TRUE(frames);
    size_t begin = sizeof(trace_file_header), end = begin, used = 0;
    uint32_t found = 0;
    Step step = Step::kMore;
    while (step != Step::kEnd) {
      step = frames->next({at + begin, end - begin}, end == bytes.size(), &used);
      ASSERT_NE(step, Step::kCut) << "pieces of " << piece;
      begin += used;
      if (step == Step::kMore) end = std::min(end + piece, bytes.size());
      found += step == Step::kRecord || step == Step::kGap;
    }
    ASSERT_EQ(found, 41u);
  }
}

TEST_F(TraceFile, IsNotOverwrittenUnlessThatIsMeant) {
  std::ofstream(path_) << "precious";
  auto recorder = TraceRecorder::create(
      path_, 512, [](ebpf::LogLevel, const std::string&) {}, TraceRecorder::Existing::kRefuse);
  ASSERT_FALSE(recorder);
  EXPECT_EQ(recorder.error().code, EEXIST);
  EXPECT_EQ(content(), "precious");
}

TEST_F(TraceFile, NeverGivesADamagedFrame) {
  write_records(20);
  const auto bytes = std::filesystem::file_size(path_);
  std::mt19937_64 random(20260101);
  for (int round = 0; round < 500; ++round) {
    const uint64_t at = random() % bytes;
    std::ifstream in(path_, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(at));
    const auto before = static_cast<char>(in.get());
    overwrite(at, static_cast<char>(before ^ (1 << (random() % 8))));
    ASSERT_TRUE(readable_frames() < 21 || last_step() == Step::kCut)
        << "flipped a bit of byte " << at;
    overwrite(at, before);
  }
  EXPECT_EQ(readable_frames(), 21u);
}

TEST_F(TraceFile, SaysWhyAFileIsNone) {
  EXPECT_NE(refusal().find("No such file or directory"), std::string::npos);
  std::ofstream(path_) << "short";
  EXPECT_NE(refusal().find("only 5 bytes"), std::string::npos) << refusal();
  std::ofstream(path_) << std::string(4096, 'x');
  EXPECT_NE(refusal().find("EBPFREC1"), std::string::npos) << refusal();
  write_records(1);
  overwrite(offsetof(trace_file_header, version), 9);
  EXPECT_NE(refusal().find("format version 9"), std::string::npos) << refusal();
  write_records(1);
  overwrite(offsetof(trace_file_header, cap_bytes), 9);
  EXPECT_NE(refusal().find("checksum"), std::string::npos) << refusal();
}

TEST_F(TraceFile, KeepsWholeFramesAndCountsTheRestWhenTheDiskIsFull) {
  // RLIMIT_FSIZE stands for the full disk: write() takes part of the buffer, then fails.
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  const rlimit small{5000, RLIM_INFINITY};
  {
    auto recorder = record();
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    std::vector<uint64_t> memory(ebpf_record_bytes(512) / 8);
    auto* out = reinterpret_cast<ebpf_record*>(memory.data());
    out->length_bytes = ebpf_record_bytes(512);
    out->kind = EBPF_RECORD_DATA;
    out->data.cap_len = 512;
    for (int i = 0; i < 100; ++i) recorder->add(*out);
    recorder->flush();
    recorder->add(*out);
    recorder->add_gap(EBPF_GAP_PERF_FULL, 1, 1);
    EXPECT_TRUE(recorder->failed());
    EXPECT_FALSE(recorder->finish());
    EXPECT_EQ(recorder->records(), 7u);
    EXPECT_EQ(recorder->lost(), 94u);
  }
  setrlimit(RLIMIT_FSIZE, &unlimited);
  EXPECT_NE(logged_.find("File too large"), std::string::npos) << logged_;
  EXPECT_EQ(std::filesystem::file_size(path_),
            sizeof(trace_file_header) + 7 * (sizeof(trace_file_frame) + ebpf_record_bytes(512)));
  EXPECT_EQ(readable_frames(), 7u);
  EXPECT_EQ(last_step(), Step::kCut) << "it does not look whole";
}

}  // namespace

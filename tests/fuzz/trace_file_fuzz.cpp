// SPDX-License-Identifier: Apache-2.0
// The reader of recorded traces. An input is a byte of flags (1: checksums are put right, so
// that what they would catch gets further; the rest: how it is cut into pieces), and the file.
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <vector>

#include "producer/trace_frames.h"
#include "producer/trace_player.h"
#include "tests/fuzz/fuzz_support.h"

namespace ebpf::fuzz {
namespace {

uint32_t crc_of(const std::string& bytes, size_t at, size_t count) {
  return static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()) + at, static_cast<uInt>(count)));
}

void put_checksums_right(std::string& file) {
  if (file.size() < sizeof(trace_file_header)) return;
  uint32_t crc = crc_of(file, 0, offsetof(trace_file_header, crc));
  std::memcpy(file.data() + offsetof(trace_file_header, crc), &crc, sizeof crc);
  size_t at = sizeof(trace_file_header);
  while (at + sizeof(trace_file_frame) <= file.size()) {
    trace_file_frame frame;
    std::memcpy(&frame, file.data() + at, sizeof frame);
    if (frame.body_bytes > file.size() - at - sizeof frame) return;
    crc = crc_of(file, at + sizeof frame, frame.body_bytes);
    std::memcpy(file.data() + at + offsetof(trace_file_frame, crc), &crc, sizeof crc);
    at += sizeof frame + frame.body_bytes;
  }
}

using Step = TraceFrames::Step;

// Every byte that the reader vouches for is there.
void touch(const ebpf_record& record, const uint8_t* payload, uint32_t cap_bytes) {
  must(record.data.cap_len <= cap_bytes, "no more than the file's limit");
  volatile uint8_t sum = record.data.need_reconfirm;
  for (uint32_t i = 0; i < record.data.cap_len; ++i) sum = sum + payload[i];
}

uint64_t read_file(const std::string& path) {
  auto player = TracePlayer::open(path);
  if (!player) {
    must_be_line(player.error().message);
    return 0;
  }
  uint64_t steps = 0;
  for (;; ++steps) {
    const Step step = (*player)->next();
    must(step != Step::kMore, "a file has no more");
    if (step == Step::kEnd || step == Step::kCut) return steps;
    (void)(*player)->timestamp_us();
    if (step == Step::kRecord) {
      touch((*player)->record(), (*player)->payload(), (*player)->cap_bytes());
    }
  }
}

// The same from memory that ends where the bytes end, which come a few at a time.
uint64_t read_pieces(const std::string& file, size_t piece) {
  const std::vector<uint8_t> bytes(file.begin(), file.end());
  auto frames = TraceFrames::open(bytes, "file");
  if (!frames) return 0;
  size_t begin = sizeof(trace_file_header);
  size_t end = begin;
  uint64_t steps = 0;
  for (;;) {
    size_t used = 0;
    const std::vector<uint8_t> shown(bytes.begin() + static_cast<ptrdiff_t>(begin),
                                     bytes.begin() + static_cast<ptrdiff_t>(end));
    const Step step = frames->next(shown, end == bytes.size(), &used);
    must(used <= shown.size(), "no more is used than there is");
    begin += used;
    if (step == Step::kEnd || step == Step::kCut) return steps;
    if (step == Step::kMore) {
      must(end < bytes.size(), "there is more to wait for");
      end = std::min(end + piece, bytes.size());
      continue;
    }
    ++steps;
    if (step == Step::kRecord) {
      touch(frames->record(), frames->payload(), frames->header().cap_bytes);
    }
  }
}

}  // namespace
}  // namespace ebpf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ebpf::fuzz;
  static const int fd = memfd_create("trace", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  Input input(data, size);
  const auto flags = input.take<uint8_t>();
  std::string file = input.take_bytes(input.left());
  if (flags & 1) put_checksums_right(file);
  must(ftruncate(fd, 0) == 0 &&
           pwrite(fd, file.data(), file.size(), 0) == static_cast<ssize_t>(file.size()),
       "a file");
  must(ebpf::fuzz::read_file(path) == ebpf::fuzz::read_pieces(file, 1 + 40 * (flags >> 1)),
       "the same from a file and from memory");
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The reader of recorded traces. An input is a byte of flags (1: checksums are put right, so
// that what they would catch gets further), and the file.
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

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

void read_all(const std::string& path) {
  auto player = TracePlayer::open(path);
  if (!player) return must_be_line(player.error().message);
  for (;;) {
    const TracePlayer::Step step = (*player)->next();
    if (step == TracePlayer::Step::kEnd || step == TracePlayer::Step::kCut) return;
    (void)(*player)->timestamp_us();
    if (step != TracePlayer::Step::kRecord) continue;
    const SK_BPF_DATA data = (*player)->record().data;
    must(data.cap_len <= (*player)->cap_bytes(), "no more than the file's limit");
    volatile uint8_t sum = data.need_reconfirm;
    for (uint32_t i = 0; i < data.cap_len; ++i) sum = sum + (*player)->payload()[i];
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
  ebpf::fuzz::read_all(path);
  return 0;
}

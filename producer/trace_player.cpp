// SPDX-License-Identifier: Apache-2.0
#include "producer/trace_player.h"

#include <zlib.h>

namespace ebpf {
namespace {

constexpr uint32_t kBodyBytesMax = sizeof(ebpf_record) + EBPF_CAP_BYTES_MAX + EBPF_RECORD_ALIGN;

uint32_t crc_of(const void* bytes, size_t count) {
  return static_cast<uint32_t>(
      crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(count)));
}

// A bool in a file may hold any byte; look at it before anyone reads it as a bool.
bool flag_is_valid(const ebpf_record& record) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&record.data);
  return bytes[offsetof(SK_BPF_DATA, need_reconfirm)] <= 1;
}

}  // namespace

TracePlayer::TracePlayer(std::unique_ptr<std::FILE, Close> file)
    : file_(std::move(file)), body_(kBodyBytesMax / sizeof(uint64_t) + 1) {}

Result<std::unique_ptr<TracePlayer>> TracePlayer::open(const std::string& path) {
  std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
  if (!file) return errno_error("cannot open the recorded trace " + path);
  std::unique_ptr<TracePlayer> player(new TracePlayer(std::move(file)));
  if (auto read = player->read_header(path); !read) return read.error();
  return player;
}

Result<> TracePlayer::read_header(const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return Error{EINVAL, path + " is not a recorded trace: " + why};
  };
  const size_t got = std::fread(&header_, 1, sizeof header_, file_.get());
  if (got != sizeof header_) {
    if (std::ferror(file_.get())) return errno_error("cannot read " + path);
    return refuse("it has only " + std::to_string(got) + " bytes");
  }
  if (header_.magic != EBPF_TRACE_MAGIC) return refuse("it does not start with EBPFREC1");
  if (header_.version != EBPF_TRACE_VERSION) {
    return Error{EPROTO, path + " has format version " + std::to_string(header_.version) +
                             "; this program reads version " + std::to_string(EBPF_TRACE_VERSION)};
  }
  if (header_.crc != crc_of(&header_, offsetof(trace_file_header, crc))) {
    return refuse("its header has a wrong checksum");
  }
  if (header_.header_bytes != sizeof header_ || header_.cap_bytes == 0 ||
      header_.cap_bytes > EBPF_CAP_BYTES_MAX) {
    return refuse("its header holds impossible sizes");
  }
  return Unit{};
}

bool TracePlayer::body_is_valid(uint32_t bytes) const {
  if (gap().kind == EBPF_RECORD_GAP) {
    return bytes == sizeof(ebpf_gap) && gap().length_bytes == bytes &&
           gap().cause >= EBPF_GAP_LAPPED && gap().cause <= EBPF_GAP_CORRUPT;
  }
  return bytes >= sizeof(ebpf_record) && record().kind == EBPF_RECORD_DATA &&
         record().length_bytes == bytes && record().data.cap_len <= header_.cap_bytes &&
         ebpf_record_bytes(record().data.cap_len) == bytes && flag_is_valid(record());
}

TracePlayer::Step TracePlayer::next() {
  trace_file_frame frame{};
  const size_t got = std::fread(&frame, 1, sizeof frame, file_.get());
  if (got == 0 && std::feof(file_.get())) return step_ = Step::kEnd;
  if (got != sizeof frame) return step_ = Step::kCut;
  if (frame.body_bytes < sizeof(ebpf_gap) || frame.body_bytes > kBodyBytesMax) {
    return step_ = Step::kCut;
  }
  if (std::fread(body_.data(), 1, frame.body_bytes, file_.get()) != frame.body_bytes) {
    return step_ = Step::kCut;
  }
  if (frame.crc != crc_of(body_.data(), frame.body_bytes)) return step_ = Step::kCut;
  if (!body_is_valid(frame.body_bytes)) return step_ = Step::kCut;
  return step_ = gap().kind == EBPF_RECORD_GAP ? Step::kGap : Step::kRecord;
}

uint64_t TracePlayer::timestamp_us() const {
  return step_ == Step::kGap ? gap().timestamp_us : record().data.timestamp;
}

}  // namespace ebpf

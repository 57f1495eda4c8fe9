// SPDX-License-Identifier: Apache-2.0
#include "producer/trace_frames.h"

#include <zlib.h>

namespace ebpf {
namespace {

// A bool in a file may hold any byte; look at it before anyone reads it as a bool.
bool flag_is_valid(const ebpf_record& record) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&record.data);
  return bytes[offsetof(SK_BPF_DATA, need_reconfirm)] <= 1;
}

}  // namespace

uint32_t trace_crc(const void* bytes, size_t count) {
  return static_cast<uint32_t>(
      crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(count)));
}

Result<TraceFrames> TraceFrames::open(std::span<const uint8_t> bytes, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    return Error{EINVAL, name + " is not a recorded trace: " + why};
  };
  TraceFrames frames;
  trace_file_header& header = frames.header_;
  if (bytes.size() < sizeof header) {
    return refuse("it has only " + std::to_string(bytes.size()) + " bytes");
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != EBPF_TRACE_MAGIC) return refuse("it does not start with EBPFREC1");
  if (header.version == 0 || header.version > EBPF_TRACE_VERSION) {
    return Error{EPROTO, name + " has format version " + std::to_string(header.version) +
                             "; this program reads versions 1 to " +
                             std::to_string(EBPF_TRACE_VERSION)};
  }
  if (header.crc != trace_crc(&header, offsetof(trace_file_header, crc))) {
    return refuse("its header has a wrong checksum");
  }
  if (header.header_bytes != sizeof header || header.cap_bytes == 0 ||
      header.cap_bytes > EBPF_CAP_BYTES_MAX) {
    return refuse("its header holds impossible sizes");
  }
  return frames;
}

bool TraceFrames::record_is_valid(uint32_t bytes) const {
  return bytes >= sizeof(ebpf_record) && record().data.cap_len <= header_.cap_bytes &&
         ebpf_record_bytes(record().data.cap_len) == bytes && flag_is_valid(record());
}

bool TraceFrames::gap_is_valid(uint32_t bytes) const {
  return bytes == sizeof(ebpf_gap) && gap().cause >= EBPF_GAP_LAPPED &&
         gap().cause <= EBPF_GAP_CORRUPT;
}

bool TraceFrames::end_is_valid(uint32_t bytes) const {
  const auto& end = *reinterpret_cast<const trace_file_end*>(body_.data());
  return header_.version >= 2 && bytes == sizeof end && end.records == records_ &&
         end.gaps == gaps_;
}

TraceFrames::Step TraceFrames::classify(uint32_t bytes) {
  // Every body starts with its length and its kind.
  if (gap().length_bytes != bytes) return Step::kCut;
  switch (gap().kind) {
    case EBPF_RECORD_DATA:
      if (!record_is_valid(bytes)) return Step::kCut;
      ++records_;
      return Step::kRecord;
    case EBPF_RECORD_GAP:
      if (!gap_is_valid(bytes)) return Step::kCut;
      ++gaps_;
      return Step::kGap;
    case EBPF_TRACE_END:
      ended_ = end_is_valid(bytes);
      return ended_ ? Step::kEnd : Step::kCut;
    default:
      return Step::kCut;
  }
}

TraceFrames::Step TraceFrames::next(std::span<const uint8_t> bytes, bool last, size_t* used) {
  *used = 0;
  if (ended_) return Step::kEnd;
  if (bytes.empty() && last) return header_.version == 1 ? Step::kEnd : Step::kCut;
  trace_file_frame frame{};
  if (bytes.size() < sizeof frame) return last ? Step::kCut : Step::kMore;
  std::memcpy(&frame, bytes.data(), sizeof frame);
  if (frame.body_bytes < sizeof(ebpf_gap) ||
      frame.body_bytes > kFrameBytesMax - sizeof(trace_file_frame)) {
    return Step::kCut;
  }
  if (bytes.size() - sizeof frame < frame.body_bytes) return last ? Step::kCut : Step::kMore;
  std::memcpy(body_.data(), bytes.data() + sizeof frame, frame.body_bytes);
  if (frame.crc != trace_crc(body_.data(), frame.body_bytes)) return Step::kCut;
  *used = sizeof frame + frame.body_bytes;
  return classify(frame.body_bytes);
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/trace_recorder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include "producer/wall_clock.h"

namespace ebpf {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;

uint32_t crc_of(const void* bytes, size_t count) {
  return static_cast<uint32_t>(
      crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(count)));
}

// Returns how many bytes were written; errno tells why it were not all.
size_t write_all(int fd, const uint8_t* bytes, size_t count) {
  size_t done = 0;
  while (done < count) {
    const ssize_t n = ::write(fd, bytes + done, count - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

trace_file_header make_header(uint32_t cap_bytes) {
  trace_file_header header{};
  header.magic = EBPF_TRACE_MAGIC;
  header.version = EBPF_TRACE_VERSION;
  header.header_bytes = sizeof header;
  header.created_us = wall_us();
  header.cap_bytes = cap_bytes;
  header.crc = crc_of(&header, offsetof(trace_file_header, crc));
  return header;
}

}  // namespace

Result<std::unique_ptr<TraceRecorder>> TraceRecorder::create(const std::string& path,
                                                             uint32_t cap_bytes, LogSink log) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd) return errno_error("cannot create the record file " + path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return errno_error("cannot stat " + path);
  if (!S_ISREG(status.st_mode)) return Error{EINVAL, path + " is not a regular file"};
  if (fchmod(fd.get(), 0600) != 0) return errno_error("cannot make " + path + " private");
  if (ftruncate(fd.get(), 0) != 0) return errno_error("cannot truncate " + path);

  const trace_file_header header = make_header(cap_bytes);
  if (write_all(fd.get(), reinterpret_cast<const uint8_t*>(&header), sizeof header) !=
      sizeof header) {
    return errno_error("cannot write to " + path);
  }
  return std::unique_ptr<TraceRecorder>(new TraceRecorder(path, std::move(fd), std::move(log)));
}

TraceRecorder::TraceRecorder(std::string path, UniqueFd fd, LogSink log)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      log_(std::move(log)),
      written_bytes_(sizeof(trace_file_header)) {
  buffer_.reserve(kBufferBytes);
}

TraceRecorder::~TraceRecorder() { flush(); }

void TraceRecorder::add(const ebpf_record& record) { add_frame(&record, record.length_bytes); }

void TraceRecorder::add_gap(uint32_t cause, uint64_t count, uint64_t timestamp_us) {
  ebpf_gap gap{};
  gap.length_bytes = sizeof gap;
  gap.kind = EBPF_RECORD_GAP;
  gap.cause = cause;
  gap.count = count;
  gap.timestamp_us = timestamp_us;
  add_frame(&gap, sizeof gap);
}

void TraceRecorder::add_frame(const void* body, uint32_t body_bytes) {
  if (!fd_) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (buffer_.size() + sizeof(trace_file_frame) + body_bytes > kBufferBytes) flush();
  const trace_file_frame frame{body_bytes, crc_of(body, body_bytes)};
  const auto* head = reinterpret_cast<const uint8_t*>(&frame);
  const auto* bytes = static_cast<const uint8_t*>(body);
  buffer_.insert(buffer_.end(), head, head + sizeof frame);
  buffer_.insert(buffer_.end(), bytes, bytes + body_bytes);
  ++buffered_records_;
}

void TraceRecorder::flush() {
  if (buffer_.empty() || !fd_) return;
  if (write_all(fd_.get(), buffer_.data(), buffer_.size()) == buffer_.size()) {
    written_bytes_ += buffer_.size();
    records_.fetch_add(buffered_records_, std::memory_order_relaxed);
  } else {
    const Error error = errno_error("recording to " + path_ + " ends");
    // The file keeps whole frames only; a reader would skip a cut one anyway.
    const bool cut = ftruncate(fd_.get(), static_cast<off_t>(written_bytes_)) == 0;
    lost_.fetch_add(buffered_records_, std::memory_order_relaxed);
    fd_.reset();
    log_(LogLevel::kError, error.message + " after " + std::to_string(records()) + " records" +
                               (cut ? "" : " (its last record is cut)"));
  }
  buffer_.clear();
  buffered_records_ = 0;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/trace_recorder.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "producer/trace_frames.h"
#include "producer/wall_clock.h"

namespace ebpf {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;

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
  header.crc = trace_crc(&header, offsetof(trace_file_header, crc));
  return header;
}

}  // namespace

Result<std::unique_ptr<TraceRecorder>> TraceRecorder::create(const std::string& path,
                                                             uint32_t cap_bytes, LogSink log,
                                                             Existing existing) {
  const int exclusive = existing == Existing::kRefuse ? O_EXCL : 0;
  UniqueFd fd(::open(path.c_str(),
                     O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | exclusive, 0600));
  if (!fd) return errno_error("cannot create the record file " + path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return errno_error("cannot stat " + path);
  if (!S_ISREG(status.st_mode)) return Error{EINVAL, path + " is not a regular file"};
  if (fchmod(fd.get(), 0600) != 0) return errno_error("cannot make " + path + " private");
  if (ftruncate(fd.get(), 0) != 0) return errno_error("cannot truncate " + path);

  const trace_file_header header = make_header(cap_bytes);
  if (write_all(fd.get(), reinterpret_cast<const uint8_t*>(&header), sizeof header) !=
      sizeof header) {
    const Error error = errno_error("cannot write to " + path);
    ::unlink(path.c_str());
    return error;
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

void TraceRecorder::add(const ebpf_record& record) {
  if (!fd_) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  put_frame(&record, record.length_bytes);
  ++buffered_records_;
}

void TraceRecorder::add_gap(const ebpf_gap& gap) {
  add_gap(gap.cause, gap.count, gap.timestamp_us);
}

void TraceRecorder::add_gap(uint32_t cause, uint64_t count, uint64_t timestamp_us) {
  ebpf_gap gap{};
  gap.length_bytes = sizeof gap;
  gap.kind = EBPF_RECORD_GAP;
  gap.cause = cause;
  gap.count = count;
  gap.timestamp_us = timestamp_us;
  put_frame(&gap, sizeof gap);
}

void TraceRecorder::put_frame(const void* body, uint32_t body_bytes) {
  if (!fd_) return;
  if (buffer_.size() + sizeof(trace_file_frame) + body_bytes > kBufferBytes) flush();
  const trace_file_frame frame{body_bytes, trace_crc(body, body_bytes)};
  const auto* head = reinterpret_cast<const uint8_t*>(&frame);
  const auto* bytes = static_cast<const uint8_t*>(body);
  buffer_.insert(buffer_.end(), head, head + sizeof frame);
  buffer_.insert(buffer_.end(), bytes, bytes + body_bytes);
}

void TraceRecorder::flush() {
  if (buffer_.empty() || !fd_) return;
  const size_t written = write_all(fd_.get(), buffer_.data(), buffer_.size());
  if (written == buffer_.size()) {
    take_over(written);
  } else {
    end_recording(errno_error("recording to " + path_ + " ends"), written);
  }
  buffer_.clear();
  buffered_records_ = 0;
}

// Counts the whole frames in the first `bytes` of the buffer as written.
void TraceRecorder::take_over(size_t bytes) {
  uint64_t records = 0;
  for (size_t at = 0; at + sizeof(trace_file_frame) <= bytes;) {
    trace_file_frame frame;
    std::memcpy(&frame, buffer_.data() + at, sizeof frame);
    const size_t frame_bytes = sizeof frame + frame.body_bytes;
    if (frame_bytes > bytes - at) break;
    uint16_t kind;
    std::memcpy(&kind, buffer_.data() + at + sizeof frame + offsetof(ebpf_gap, kind), sizeof kind);
    records += kind == EBPF_RECORD_DATA;
    gaps_ += kind == EBPF_RECORD_GAP;
    written_bytes_ += frame_bytes;
    at += frame_bytes;
  }
  records_.fetch_add(records, std::memory_order_relaxed);
  buffered_records_ -= records;
}

void TraceRecorder::end_recording(const Error& error, size_t written) {
  take_over(written);
  // The file keeps whole frames only; a reader would skip a cut one anyway.
  const bool cut = ftruncate(fd_.get(), static_cast<off_t>(written_bytes_)) == 0;
  lost_.fetch_add(buffered_records_, std::memory_order_relaxed);
  fd_.reset();
  failed_ = true;
  log_(LogLevel::kError, error.message + " after " + std::to_string(records()) + " records" +
                             (cut ? "" : " (its last record is cut)"));
}

bool TraceRecorder::finish() {
  flush();
  if (!fd_) return false;
  trace_file_end end{};
  end.length_bytes = sizeof end;
  end.kind = EBPF_TRACE_END;
  end.records = records();
  end.gaps = gaps_;
  end.ended_us = wall_us();
  put_frame(&end, sizeof end);
  flush();
  fd_.reset();
  return !failed_;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/trace_player.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace ebpf {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;
static_assert(kBufferBytes > 2 * TraceFrames::kFrameBytesMax);

}  // namespace

TracePlayer::TracePlayer(std::string path, UniqueFd fd)
    : path_(std::move(path)), fd_(std::move(fd)), buffer_(kBufferBytes) {}

Result<std::unique_ptr<TracePlayer>> TracePlayer::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("cannot open the recorded trace " + path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return errno_error("cannot stat " + path);
  if (S_ISDIR(status.st_mode)) {
    return Error{EISDIR, path + " is not a recorded trace: it is a directory"};
  }
  std::unique_ptr<TracePlayer> player(new TracePlayer(path, std::move(fd)));
  if (auto begun = player->begin(); !begun) return begun.error();
  return player;
}

Result<> TracePlayer::begin() {
  while (end_ < sizeof(trace_file_header) && fill()) {
  }
  auto frames = TraceFrames::open({buffer_.data(), end_}, path_);
  if (!frames) return frames.error();
  frames_ = std::move(*frames);
  begin_ = sizeof(trace_file_header);
  return Unit{};
}

Result<> TracePlayer::rewind() {
  if (lseek(fd_.get(), 0, SEEK_SET) != 0) return errno_error("cannot read " + path_ + " again");
  begin_ = end_ = 0;
  bytes_read_ = 0;
  at_end_ = false;
  return begin();
}

// A file that cannot be read on ends where reading failed: it is told as cut off.
bool TracePlayer::fill() {
  if (at_end_) return false;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  ssize_t got;
  do {
    got = ::read(fd_.get(), buffer_.data() + end_, buffer_.size() - end_);
  } while (got < 0 && errno == EINTR);
  at_end_ = got <= 0;
  if (got > 0) {
    end_ += static_cast<size_t>(got);
    bytes_read_ += static_cast<uint64_t>(got);
  }
  return !at_end_;
}

TracePlayer::Step TracePlayer::next() {
  size_t used = 0;
  do {
    step_ = frames_->next({buffer_.data() + begin_, end_ - begin_}, at_end_, &used);
    if (step_ == Step::kMore) fill();
  } while (step_ == Step::kMore);
  if (step_ != Step::kCut) begin_ += used;
  return step_;
}

uint64_t TracePlayer::timestamp_us() const {
  return step_ == Step::kGap ? gap().timestamp_us : record().data.timestamp;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "consumer/view/stream_output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace ebpf {
namespace {

constexpr size_t kFlushBytes = 1 << 16;

// A non-blocking descriptor is somebody else's choice; we can wait.
bool wait_writable(int fd) {
  pollfd output{fd, POLLOUT, 0};
  return ::poll(&output, 1, -1) > 0;
}

}  // namespace

StreamOutput::StreamOutput(int fd, const volatile std::sig_atomic_t& stop)
    : fd_(fd), stop_(stop), by_line_(isatty(fd) == 1) {}

void StreamOutput::flush_when_due() {
  if (by_line_ || text_.size() >= kFlushBytes) flush();
}

void StreamOutput::flush() {
  size_t written = 0;
  while (written < text_.size() && error_ == 0) {
    const ssize_t n = write(fd_, text_.data() + written, text_.size() - written);
    if (n >= 0) {
      written += static_cast<size_t>(n);
    } else if (errno == EAGAIN ? !wait_writable(fd_) && stop_ : errno == EINTR && stop_) {
      break;  // nobody takes it
    } else if (errno != EINTR && errno != EAGAIN) {
      error_ = errno;
    }
  }
  text_.clear();
}

}  // namespace ebpf

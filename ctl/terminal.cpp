// SPDX-License-Identifier: Apache-2.0
#include "ctl/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace ebpf::ctl {
namespace {

constexpr int kStandardStreams = 3;

// A non-blocking standard output is somebody else's choice; we can wait.
bool wait_writable() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&output, 1, -1) > 0 || errno == EINTR;
}

}  // namespace

Result<> prepare_standard_streams() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of write(), as a full disk
  const bool output_closed = ::fcntl(STDOUT_FILENO, F_GETFD) < 0;
  for (int fd = 0; fd < kStandardStreams; fd++) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free descriptor is this one.
    if (::open("/dev/null", O_RDWR) != fd) return errno_error("cannot open /dev/null");
  }
  if (output_closed) return Error{EBADF, "cannot write the output: standard output is closed"};
  return Unit{};
}

Result<> write_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN ? !wait_writable() : errno != EINTR) {
      // Not the code itself: an EPERM here is none of the producer's.
      return Error{EIO, errno_error("cannot write the output").message};
    }
  }
  return Unit{};
}

bool output_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

bool wants_color(std::string_view when) {
  if (when != "auto") return when == "always";
  const char* no_color = std::getenv("NO_COLOR");
  return output_is_terminal() && (no_color == nullptr || *no_color == '\0');
}

}  // namespace ebpf::ctl

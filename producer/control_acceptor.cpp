// SPDX-License-Identifier: Apache-2.0
#include "producer/control_acceptor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // Linux 6.16
#endif

namespace ebpf {
namespace {

// What a peer may cost, per call of accept_some().
constexpr int kAcceptsPerRun = 16;
constexpr long kPauseNs = 100'000'000;    // the listener rests when the system lacks memory
constexpr long kThrottleNs = 20'000'000;  // and for a moment, when connections come too fast

UniqueFd open_spare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

ControlAcceptor::ControlAcceptor(ControlListener listener, UniqueFd timer, int epoll,
                                 const ControlLimits& limits, Hooks hooks)
    : listener_(std::move(listener)),
      timer_(std::move(timer)),
      spare_(open_spare()),
      epoll_(epoll),
      accepts_(limits.accepts),
      hooks_(std::move(hooks)) {}

bool ControlAcceptor::watch(int fd, uint64_t tag) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

Result<> ControlAcceptor::start() {
  // Descriptors that a peer sends are never taken; a kernel that can refuses them at the
  // sender, so that not even their closing is our business.
  const int no = 0;
  (void)setsockopt(listener_.fd(), SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
  if (!watch(listener_.fd(), kListenerTag) || !watch(timer_.get(), kTimerTag)) {
    return errno_error("cannot watch the control socket");
  }
  return Unit{};
}

void ControlAcceptor::accept_some() {
  for (int i = 0; i < kAcceptsPerRun; ++i) {
    // Connections without end must not keep this thread busy without end. Those that wait
    // in the queue cost nothing.
    if (!accepts_.take()) return (void)rest(kThrottleNs);
    UniqueFd fd = accept_one();
    if (!fd && (errno == EMFILE || errno == ENFILE)) {
      // Left in the queue, the connection would keep the listener readable for ever. One
      // descriptor was kept, to tell the peer.
      spare_.reset();
      fd = accept_one();
      const int error = errno;
      if (fd) hooks_.turn_away(fd.get(), EMFILE, "the producer has no file descriptors left");
      fd.reset();
      spare_ = open_spare();
      if (!spare_ || error == EMFILE || error == ENFILE) return pause();
      if (error == EAGAIN) return;
    } else if (fd) {
      hooks_.admit(std::move(fd));
    } else if (errno == ENOMEM || errno == ENOBUFS) {
      return pause();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

// errno is 0 where it succeeds.
UniqueFd ControlAcceptor::accept_one() const {
  errno = 0;
  return UniqueFd(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

// No new connections for so long.
bool ControlAcceptor::rest(long time_ns) {
  itimerspec once{};
  once.it_value.tv_nsec = time_ns;
  if (timerfd_settime(timer_.get(), 0, &once, nullptr) != 0) return false;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, listener_.fd(), nullptr);
  return true;
}

void ControlAcceptor::pause() {
  if (!rest(kPauseNs)) return;
  hooks_.log(LogLevel::kWarn, "out of file descriptors or memory: new connections have to wait");
}

void ControlAcceptor::resume() {
  uint64_t expirations;
  (void)!read(timer_.get(), &expirations, sizeof(expirations));
  if (!spare_) spare_ = open_spare();
  if (!watch(listener_.fd(), kListenerTag) && errno != EEXIST) pause();
}

}  // namespace ebpf

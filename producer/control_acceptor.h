// SPDX-License-Identifier: Apache-2.0
// Takes connections from the control socket, no faster than is good for those that are there, and
// also when descriptors or memory have run out. Control thread; never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/control_listener.h"
#include "producer/log.h"
#include "producer/peer_limits.h"

namespace ebpf {

class ControlAcceptor {
 public:
  struct Hooks {
    std::function<void(UniqueFd)> admit;
    std::function<void(int fd, int error, const std::string& text)> turn_away;
    LogSink log;
  };

  // What epoll reports of it: kListenerTag asks for accept_some(), kTimerTag for resume().
  static constexpr uint64_t kListenerTag = 0;
  static constexpr uint64_t kTimerTag = 1;

  // `epoll` outlives the acceptor.
  ControlAcceptor(ControlListener listener, UniqueFd timer, int epoll, const ControlLimits& limits,
                  Hooks hooks);

  Result<> start();
  void accept_some();
  void resume();

 private:
  bool watch(int fd, uint64_t tag) const;
  UniqueFd accept_one() const;
  bool rest(long time_ns);
  void pause();

  ControlListener listener_;
  UniqueFd timer_;
  UniqueFd spare_;
  int epoll_;
  TokenBucket accepts_;
  Hooks hooks_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// One peer of the control socket: who it is, what it sends, and the answers that need nothing but
// the connection. Control thread; no function here blocks, and all leave the connection open.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/peer_limits.h"

namespace ebpf {

struct Connection {
  explicit Connection(const ControlLimits& limits) : messages(limits.connection_messages) {}

  UniqueFd fd;
  uint64_t tag = 0;
  ucred peer{};
  uint32_t consumer_id = 0;  // 0: has not joined
  std::string name;
  TokenBucket messages;
  UniqueFd statistics;  // while it is open, the kernel counts runs of programs for this peer
};

struct Packet {
  alignas(8) char bytes[sizeof(ebpf_msg_join)];  // the longest message that we take
  int flags = 0;
};

// As recvmsg(); descriptors that come along are not taken.
ssize_t receive(const Connection& connection, Packet* packet);

// False: the peer does not take it, and the connection is to be closed.
bool send_whole(int fd, const void* message, size_t bytes);
bool send_with_descriptors(int fd, const void* message, size_t bytes,
                           const std::array<int, 2>& descriptors);
bool answer_ok(const Connection& connection);
// A request that was understood and cannot be fulfilled.
bool answer_error(const Connection& connection, const Error& error);
bool answer_not_allowed(const Connection& connection, const char* what);

// Ends a connection so that the peer can still read what was sent to it.
void hang_up(int fd);

// Root, and the producer's own user.
bool may_control(const Connection& connection);

// "consumer 3 (name, pid 12, uid 0)"
std::string who(const Connection& connection);

}  // namespace ebpf

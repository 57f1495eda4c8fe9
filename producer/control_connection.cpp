// SPDX-License-Identifier: Apache-2.0
#include "producer/control_connection.h"

#include <unistd.h>

#include <cstring>

#include "producer/control_message.h"

namespace ebpf {
namespace {

constexpr int kDrainPackets = 32;

}  // namespace

// Closing a socket with unread packets would reset the connection, and an error message would be
// lost: no more packets come in, and those that are there are dropped.
void hang_up(int fd) {
  shutdown(fd, SHUT_RDWR);
  char byte;
  for (int packet = 0; packet < kDrainPackets; ++packet) {
    if (recv(fd, &byte, 1, MSG_DONTWAIT) <= 0) return;
  }
}

bool send_whole(int fd, const void* message, size_t bytes) {
  return send(fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

bool send_with_descriptors(int fd, const void* message, size_t bytes,
                           const std::array<int, 2>& descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(descriptors))] = {};
  iovec part{const_cast<void*>(message), bytes};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(descriptors));
  std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof(descriptors));
  return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

// Without a control buffer the kernel installs no descriptor, and says so in the flags.
ssize_t receive(const Connection& connection, Packet* packet) {
  iovec part{packet->bytes, sizeof(packet->bytes)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const ssize_t bytes = recvmsg(connection.fd.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  packet->flags = header.msg_flags;
  return bytes;
}

bool answer_ok(const Connection& connection) {
  const ebpf_msg_header ok = message_header(EBPF_MSG_OK, sizeof(ok));
  return send_whole(connection.fd.get(), &ok, sizeof(ok));
}

bool answer_not_allowed(const Connection& connection, const char* what) {
  return answer_error(connection, {EPERM, "only root and the producer's user (uid " +
                                              std::to_string(geteuid()) + ") may " + what +
                                              ", not uid " + std::to_string(connection.peer.uid)});
}

bool may_control(const Connection& connection) {
  return connection.peer.uid == 0 || connection.peer.uid == geteuid();
}

bool answer_error(const Connection& connection, const Error& error) {
  const ebpf_msg_error message = error_message(error.code, error.message);
  return send_whole(connection.fd.get(), &message, sizeof(message));
}

std::string who(const Connection& connection) {
  std::string text = connection.consumer_id != 0
                         ? "consumer " + std::to_string(connection.consumer_id) + " ("
                         : std::string("peer (");
  if (!connection.name.empty()) text += connection.name + ", ";
  return text + "pid " + std::to_string(connection.peer.pid) + ", uid " +
         std::to_string(connection.peer.uid) + ")";
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "consumer/producer_link.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <vector>

#include "libebpf/detail/escape.h"

namespace ebpf {
namespace {

constexpr int kErrnoMax = 4095;

ebpf_msg_header make_header(ebpf_msg_type type, size_t length_bytes) {
  ebpf_msg_header header{};
  header.magic = EBPF_MSG_MAGIC;
  header.version = EBPF_PROTOCOL_VERSION;
  header.type = static_cast<uint16_t>(type);
  header.length_bytes = static_cast<uint32_t>(length_bytes);
  return header;
}

Error connect_error(const std::string& path, int code) {
  Error error = errno_error("cannot connect to " + path, code);
  if (code == ENOENT || code == ECONNREFUSED) error.message += " (is ebpf-producer running?)";
  if (code == EACCES) {
    error.message += " (users of the trace must be in the group " EBPF_SOCKET_GROUP ")";
  }
  return error;
}

// One packet with the descriptors that came along.
struct Packet {
  alignas(8) std::array<uint8_t, 512> bytes{};
  size_t length = 0;
  bool cut = false;  // longer than any answer, or with more descriptors than we take
  std::vector<UniqueFd> fds;

  template <class Message>
  bool copy_to(Message& message) const {
    if (length != sizeof message) return false;
    std::memcpy(&message, bytes.data(), sizeof message);
    return true;
  }
};

// 0: hung up; -1 with errno.
ssize_t receive(int socket, Packet& packet) {
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int) * 8)> control;
  iovec part{packet.bytes.data(), packet.bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) return length;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      packet.fds.emplace_back(fd);
    }
  }
  packet.length = static_cast<size_t>(length);
  packet.cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  return length;
}

std::string printable(const char* text, size_t size) {
  std::string line(text, strnlen(text, size));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return line;
}

Error answered_error(const Packet& packet, const std::string& path) {
  ebpf_msg_error message;
  if (!packet.copy_to(message)) {
    return {EBADMSG, path + " answered with an error message of the wrong length"};
  }
  const bool plausible = message.error > 0 && message.error <= kErrnoMax;
  return {plausible ? message.error : EPROTO,
          path + ": " + printable(message.text, sizeof message.text)};
}

Result<JoinAnswer> parse_answer(Packet& packet, const std::string& path) {
  ebpf_msg_header header;
  if (packet.cut || packet.length < sizeof header) {
    return Error{EBADMSG, path + " answered with something that is no message"};
  }
  std::memcpy(&header, packet.bytes.data(), sizeof header);
  if (header.magic != EBPF_MSG_MAGIC) {
    return Error{EBADMSG, path + " does not speak the protocol of ebpf-producer"};
  }
  if (header.version != EBPF_PROTOCOL_VERSION) {
    return Error{EPROTO, path + " speaks control protocol version " +
                             std::to_string(header.version) + ", this library speaks " +
                             std::to_string(EBPF_PROTOCOL_VERSION)};
  }
  if (header.length_bytes != packet.length) {
    return Error{EBADMSG, path + " answered with a message of the wrong length"};
  }
  if (header.type == EBPF_MSG_ERROR) return answered_error(packet, path);
  JoinAnswer answer;
  if (header.type != EBPF_MSG_JOINED || !packet.copy_to(answer.message)) {
    return Error{EBADMSG, path + " answered JOIN with message type " + std::to_string(header.type) +
                              " of " + std::to_string(packet.length) + " bytes"};
  }
  if (packet.fds.size() != 2) {
    return Error{EBADMSG, path + " sent " + std::to_string(packet.fds.size()) +
                              " descriptors with its answer, expected 2"};
  }
  answer.data = std::move(packet.fds[0]);
  answer.control = std::move(packet.fds[1]);
  return answer;
}

Result<> send_join(int socket, const std::string& path, const std::string& name) {
  ebpf_msg_join join{};
  join.header = make_header(EBPF_MSG_JOIN, sizeof join);
  join.layout_version = EBPF_RING_LAYOUT_VERSION;
  name.copy(join.name, sizeof join.name - 1);
  if (send(socket, &join, sizeof join, MSG_NOSIGNAL | MSG_DONTWAIT) !=
      static_cast<ssize_t>(sizeof join)) {
    return errno_error("cannot ask " + path + " for its ring");
  }
  return Unit{};
}

}  // namespace

Result<ProducerLink> ProducerLink::connect(const std::string& path, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string shown = one_line(path, sizeof address.sun_path);
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{path.empty() ? EINVAL : ENAMETOOLONG,
                 "socket path \"" + shown + "\" has " + std::to_string(path.size()) +
                     " bytes, possible are 1 to " + std::to_string(sizeof address.sun_path - 1)};
  }
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error("cannot make a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return connect_error(shown, errno);
  }
  if (auto sent = send_join(socket.get(), shown, name); !sent) return sent.error();
  return ProducerLink(std::move(socket), shown);
}

Result<std::optional<JoinAnswer>> ProducerLink::receive_answer() {
  Packet packet;
  const ssize_t length = receive(socket_.get(), packet);
  if (length < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::optional<JoinAnswer>();
    return errno_error("no answer from " + path_);
  }
  if (length == 0) return Error{ECONNRESET, path_ + " hung up without an answer"};
  Result<JoinAnswer> answer = parse_answer(packet, path_);
  if (!answer) return answer.error();
  return std::optional<JoinAnswer>(std::move(*answer));
}

bool ProducerLink::drain() {
  // Bounded: a producer that floods us is asked again at the next poll.
  for (int count = 0; count < 64; ++count) {
    Packet packet;
    // Descriptors that come along are dropped by the kernel: there is no room for them.
    const ssize_t length =
        recv(socket_.get(), packet.bytes.data(), sizeof(ebpf_msg_error), MSG_DONTWAIT | MSG_TRUNC);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    packet.length = static_cast<size_t>(length);
    ebpf_msg_header header;
    std::memcpy(&header, packet.bytes.data(), sizeof header);
    const bool ours = packet.length >= sizeof header && header.magic == EBPF_MSG_MAGIC;
    if (ours && header.type == EBPF_MSG_ERROR) reason_ = answered_error(packet, path_);
    const bool doorbell =
        ours && packet.length == sizeof header && header.type == EBPF_MSG_DOORBELL;
    if (!doorbell) return false;
  }
  return true;
}

}  // namespace ebpf

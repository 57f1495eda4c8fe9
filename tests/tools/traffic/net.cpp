// SPDX-License-Identifier: Apache-2.0
#include "net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace traffic {

namespace {

constexpr size_t kParts = 3;

// `size` bytes at `data`, in up to three parts of about a third each.
size_t cut(iovec (&parts)[kParts], char* data, size_t size) {
  size_t count = 0;
  const size_t third = size / kParts + 1;
  for (size_t at = 0; at < size; at += third) {
    parts[count++] = {data + at, std::min(third, size - at)};
  }
  return count;
}

ssize_t send_once(int fd, Way way, std::string_view bytes, const Address* peer) {
  iovec parts[kParts];
  msghdr message{};
  switch (way) {
    case Way::kReadWrite:
      return write(fd, bytes.data(), bytes.size());
    case Way::kRecvSend:
      return sendto(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL, peer ? peer->get() : nullptr,
                    peer ? peer->length : 0);
    case Way::kRecvmsgSendmsg:
      message.msg_iov = parts;
      message.msg_iovlen = cut(parts, const_cast<char*>(bytes.data()), bytes.size());
      if (peer) {
        message.msg_name = const_cast<sockaddr*>(peer->get());
        message.msg_namelen = peer->length;
      }
      return sendmsg(fd, &message, MSG_NOSIGNAL);
    case Way::kReadvWritev:
      return writev(fd, parts,
                    static_cast<int>(cut(parts, const_cast<char*>(bytes.data()), bytes.size())));
  }
  return -1;
}

ssize_t receive_once(int fd, Way way, char* to, size_t size, Address* peer) {
  iovec parts[kParts];
  msghdr message{};
  sockaddr* name = peer ? reinterpret_cast<sockaddr*>(&peer->storage) : nullptr;
  if (peer) peer->length = sizeof(peer->storage);
  switch (way) {
    case Way::kReadWrite:
      return read(fd, to, size);
    case Way::kRecvSend:
      return recvfrom(fd, to, size, 0, name, peer ? &peer->length : nullptr);
    case Way::kRecvmsgSendmsg: {
      message.msg_iov = parts;
      message.msg_iovlen = cut(parts, to, size);
      message.msg_name = name;
      message.msg_namelen = peer ? peer->length : 0;
      const ssize_t got = recvmsg(fd, &message, 0);
      if (peer) peer->length = message.msg_namelen;
      return got;
    }
    case Way::kReadvWritev:
      return readv(fd, parts, static_cast<int>(cut(parts, to, size)));
  }
  return -1;
}

ssize_t checked_receive(int fd, Way way, char* to, size_t size, Address* peer) {
  for (;;) {
    const ssize_t got = receive_once(fd, way, to, size, peer);
    if (got >= 0) return got;
    if (errno != EINTR) die(receiver_name(way));
  }
}

void checked_send(int fd, Way way, std::string_view bytes, const Address* peer) {
  const ssize_t sent = send_once(fd, way, bytes, peer);
  if (sent < 0) die(sender_name(way));
  if (static_cast<size_t>(sent) != bytes.size()) {
    fail(std::string(sender_name(way)) + " sent " + std::to_string(sent) + " of " +
         std::to_string(bytes.size()) + " bytes");
  }
}

}  // namespace

const char* sender_name(Way way) {
  static const char* const names[] = {"write", "sendto", "sendmsg", "writev"};
  return names[static_cast<size_t>(way)];
}

const char* receiver_name(Way way) {
  static const char* const names[] = {"read", "recvfrom", "recvmsg", "readv"};
  return names[static_cast<size_t>(way)];
}

void die(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

void fail(const std::string& what) {
  std::fprintf(stderr, "ebpf-traffic: %s\n", what.c_str());
  std::exit(1);
}

uint16_t Address::port() const {
  if (family() == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

Address make_address(const std::string& host, uint16_t port) {
  const std::string text = host == "localhost" ? "127.0.0.1" : host;
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(*v4);
  } else if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(*v6);
  } else {
    fail("'" + host + "' is no IPv4 or IPv6 address");
  }
  return address;
}

Address loopback(int family, uint16_t port) {
  return make_address(family == AF_INET6 ? "::1" : "127.0.0.1", port);
}

int open_socket(int family, int type) {
  const int fd = socket(family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const timeval limit{10, 0};
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

void bind_to(int fd, const Address& address) {
  if (bind(fd, address.get(), address.length) != 0) {
    die("bind to port " + std::to_string(address.port()));
  }
}

int listen_on(const Address& address, int type) {
  const int fd = open_socket(address.family(), type);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  bind_to(fd, address);
  if (type == SOCK_STREAM && listen(fd, 64) != 0) die("listen");
  return fd;
}

void connect_socket(int fd, const Address& address) {
  if (connect(fd, address.get(), address.length) != 0) {
    die("connect to port " + std::to_string(address.port()));
  }
}

int connect_to(const Address& address, int type) {
  const int fd = open_socket(address.family(), type);
  connect_socket(fd, address);
  return fd;
}

int accept_from(int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      return fd;
    }
    if (errno != EINTR && errno != ECONNABORTED) die("accept");
  }
}

Address local_address(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) {
    die("getsockname");
  }
  return address;
}

bool ipv6_works() {
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const Address any = loopback(AF_INET6, 0);
  const bool works = bind(fd, any.get(), any.length) == 0;
  close(fd);
  return works;
}

void send_all(int fd, Way way, std::string_view bytes) { checked_send(fd, way, bytes, nullptr); }

ssize_t receive(int fd, Way way, char* to, size_t size) {
  return checked_receive(fd, way, to, size, nullptr);
}

ssize_t receive_from(int fd, Way way, char* to, size_t size, Address* peer) {
  return checked_receive(fd, way, to, size, peer);
}

void send_to(int fd, Way way, std::string_view bytes, const Address& peer) {
  checked_send(fd, way, bytes, &peer);
}

}  // namespace traffic

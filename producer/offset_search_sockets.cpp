// SPDX-License-Identifier: Apache-2.0
#include "producer/offset_search_sockets.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include <atomic>
#include <string>

namespace ebpf::search {
namespace {

constexpr int kWaitMs = 2000;

Error address_error(const char* what) {
  Error error = errno_error(what);
  if (error.code == EADDRNOTAVAIL || error.code == ENETUNREACH)
    error.message += " (is the loopback interface up?)";
  return error;
}

bool wait_for(int fd, short events) {
  pollfd entry = {fd, events, 0};
  return poll(&entry, 1, kWaitMs) == 1;
}

bool same_address(const Address& a, const Address& b) {
  return a.port() == b.port() && a.ipv4() == b.ipv4();
}

// Someone else might connect to the listener as well; only our own client is taken.
Result<UniqueFd> accept_from(int listener, const Address& client) {
  while (wait_for(listener, POLLIN)) {
    UniqueFd accepted(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!accepted) return errno_error("accepting a TCP connection on loopback");
    if (same_address(peer_address(accepted.get()), client)) return accepted;
  }
  return errno_error("accepting a TCP connection on loopback", ETIMEDOUT);
}

}  // namespace

uint16_t Address::port() const {
  // The port stands at the same place in both.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

uint32_t Address::ipv4() const {
  if (storage.ss_family == AF_INET)
    return reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr;
  in6_addr address = ipv6();
  return IN6_IS_ADDR_V4MAPPED(&address) ? address.s6_addr32[3] : 0;
}

in6_addr Address::ipv6() const {
  if (storage.ss_family != AF_INET6) return in6_addr{};
  return reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
}

Address make_address(int family, uint32_t ipv4, uint16_t port) {
  if (family == AF_INET6) {
    in6_addr mapped{};
    mapped.s6_addr16[5] = 0xffff;
    mapped.s6_addr32[3] = htonl(ipv4);
    return make_ipv6_address(mapped, port);
  }
  Address address;
  auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
  in->sin_family = AF_INET;
  in->sin_port = htons(port);
  in->sin_addr.s_addr = htonl(ipv4);
  address.bytes = sizeof(*in);
  return address;
}

Address make_ipv6_address(const in6_addr& ipv6, uint16_t port) {
  Address address;
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(port);
  in6->sin6_addr = ipv6;
  address.bytes = sizeof(*in6);
  return address;
}

Address local_address(int fd) {
  Address address;
  address.bytes = sizeof(address.storage);
  if (getsockname(fd, address.get(), &address.bytes) != 0) return Address{};
  return address;
}

Address peer_address(int fd) {
  Address address;
  address.bytes = sizeof(address.storage);
  if (getpeername(fd, address.get(), &address.bytes) != 0) return Address{};
  return address;
}

Result<uint8_t> tcp_state(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return errno_error("TCP_INFO");
  return info.tcpi_state;
}

Result<int> unread_bytes(int fd) {
  int count = 0;
  if (ioctl(fd, SIOCINQ, &count) != 0) return errno_error("SIOCINQ");
  return count;
}

Result<int> unsent_bytes(int fd) {
  int count = 0;
  if (ioctl(fd, SIOCOUTQ, &count) != 0) return errno_error("SIOCOUTQ");
  return count;
}

Result<UniqueFd> make_socket(int family, int type, int protocol) {
  UniqueFd fd(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd) {
    return errno_error("socket(" + std::to_string(family) + ", " + std::to_string(type) + ", " +
                       std::to_string(protocol) + ")");
  }
  return fd;
}

Result<> bind_socket(int fd, const Address& address) {
  if (bind(fd, address.get(), address.bytes) != 0)
    return address_error("binding a socket on loopback");
  return Unit{};
}

Result<> connect_socket(int fd, const Address& address) {
  if (connect(fd, address.get(), address.bytes) == 0) return Unit{};
  if (errno != EINPROGRESS) return address_error("connecting a socket on loopback");
  int error = ETIMEDOUT;
  socklen_t bytes = sizeof(error);
  if (wait_for(fd, POLLOUT)) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
  if (error != 0) return errno_error("connecting a socket on loopback", error);
  return Unit{};
}

Result<UniqueFd> make_listener(int family, uint32_t ipv4) {
  auto fd = make_socket(family, SOCK_STREAM, 0);
  if (!fd) return fd;
  int off = 0;
  if (family == AF_INET6 &&
      setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
    return errno_error("IPV6_V6ONLY");
  if (auto bound = bind_socket(fd->get(), make_address(family, ipv4, 0)); !bound)
    return bound.error();
  if (listen(fd->get(), 8) != 0) return errno_error("listening on loopback");
  return fd;
}

Result<TcpPair> make_tcp_pair(int family, uint32_t client_ipv4, uint32_t server_ipv4) {
  auto listener = make_listener(family, server_ipv4);
  if (!listener) return listener.error();
  auto client = make_socket(family, SOCK_STREAM, 0);
  if (!client) return client.error();
  int off = 0;
  if (family == AF_INET6 &&
      setsockopt(client->get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
    return errno_error("IPV6_V6ONLY");
  if (auto bound = bind_socket(client->get(), make_address(family, client_ipv4, 0)); !bound)
    return bound.error();
  if (auto done = connect_socket(client->get(), local_address(listener->get())); !done)
    return done.error();
  auto accepted = accept_from(listener->get(), local_address(client->get()));
  if (!accepted) return accepted.error();
  return TcpPair{std::move(*listener), std::move(*client), std::move(*accepted)};
}

bool wait_until(const std::function<bool()>& holds) {
  for (int i = 0; i < kWaitMs; i++) {
    if (holds()) return true;
    timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, nullptr);
  }
  return holds();
}

uint32_t next_loopback_address() {
  static std::atomic<uint32_t> count{0};
  uint32_t n = count.fetch_add(1) % 40;
  return 127u << 24 | (11 + n) << 16 | (61 + n) << 8 | (131 + n);
}

}  // namespace ebpf::search

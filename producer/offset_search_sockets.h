// SPDX-License-Identifier: Apache-2.0
// Sockets with known properties, made by the offset search. Nothing leaves the machine:
// addresses are in 127.0.0.0/8, or IPv4-mapped ones of those.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::search {

// An address of either family, as the system calls take it.
struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  uint16_t port() const;  // host order
  uint32_t ipv4() const;  // network order; of an IPv4-mapped address, too
  in6_addr ipv6() const;  // all zero for AF_INET
};

// `family` AF_INET6 gives the IPv4-mapped form of `ipv4` (host order).
Address make_address(int family, uint32_t ipv4, uint16_t port);
Address make_ipv6_address(const in6_addr& ipv6, uint16_t port);

// What the system calls say; all zero where there is none.
Address local_address(int fd);
Address peer_address(int fd);
// tcpi_state of TCP_INFO: TCP_ESTABLISHED …
Result<uint8_t> tcp_state(int fd);
Result<int> unread_bytes(int fd);  // SIOCINQ
Result<int> unsent_bytes(int fd);  // SIOCOUTQ: sent and not acknowledged, too

// Close-on-exec, non-blocking.
Result<UniqueFd> make_socket(int family, int type, int protocol);
Result<> bind_socket(int fd, const Address& address);
Result<> connect_socket(int fd, const Address& address);  // waits until it is connected
Result<UniqueFd> make_listener(int family, uint32_t ipv4);

struct TcpPair {
  UniqueFd listener;
  UniqueFd client;
  UniqueFd accepted;
};
// Two ends of one connection, from client_ipv4 to server_ipv4 (host order, in 127/8).
Result<TcpPair> make_tcp_pair(int family, uint32_t client_ipv4, uint32_t server_ipv4);

// Tries until it holds, for two seconds; false: it did not.
bool wait_until(const std::function<bool()>& holds);

// 127.x.y.z, another one with each call, all four bytes different from another.
uint32_t next_loopback_address();

}  // namespace ebpf::search

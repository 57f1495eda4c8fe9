// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/traffic.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace ebpf::test {
namespace {

// From linux/tcp.h, which cannot be included beside netinet/tcp.h.
constexpr int kRepair = 19;
constexpr int kRepairQueue = 20;
constexpr int kQueueSeq = 21;
constexpr int kReceiveQueue = 1;
constexpr int kSendQueue = 2;
constexpr int kRepairOffQuietly = -1;

uint32_t repair_seq(int fd, int queue) {
  const int on = 1;
  const int off = kRepairOffQuietly;
  uint32_t seq = 0;
  socklen_t size = sizeof(seq);
  require(setsockopt(fd, IPPROTO_TCP, kRepair, &on, sizeof(on)) == 0, "TCP_REPAIR");
  require(setsockopt(fd, IPPROTO_TCP, kRepairQueue, &queue, sizeof(queue)) == 0, "repair queue");
  require(getsockopt(fd, IPPROTO_TCP, kQueueSeq, &seq, &size) == 0, "TCP_QUEUE_SEQ");
  require(setsockopt(fd, IPPROTO_TCP, kRepair, &off, sizeof(off)) == 0, "TCP_REPAIR off");
  return seq;
}

int domain(Family family) { return family == Family::kInet ? AF_INET : AF_INET6; }

std::string dns_question(const std::string& name) {
  std::string bytes;
  for (size_t at = 0; at < name.size();) {
    size_t dot = name.find('.', at);
    if (dot == std::string::npos) dot = name.size();
    bytes += static_cast<char>(dot - at);
    bytes += name.substr(at, dot - at);
    at = dot + 1;
  }
  bytes += std::string("\0\0\1\0\1", 5);
  return bytes;
}

std::string dns_header(uint16_t id, const char* rest) {
  return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + std::string(rest, 10);
}

}  // namespace

void require(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  _exit(1);
}

uint16_t Address::port() const {
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

Address loopback(Family family) {
  Address address;
  if (family == Family::kInet) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.size = sizeof(*in);
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    const char* text = family == Family::kInet6 ? "::1" : "::ffff:127.0.0.1";
    require(inet_pton(AF_INET6, text, &in6->sin6_addr) == 1, "inet_pton");
    address.size = sizeof(*in6);
  }
  return address;
}

Address local_address(int fd) {
  Address address;
  address.size = sizeof(address.storage);
  require(getsockname(fd, address.get(), &address.size) == 0, "getsockname");
  return address;
}

void Pair::close() {
  ::close(client);
  ::close(server);
}

Pair connect_tcp(Family family) {
  const int listener = socket(domain(family), SOCK_STREAM, 0);
  require(listener >= 0, "socket");
  Address address = loopback(family);
  require(bind(listener, address.get(), address.size) == 0, "bind");
  require(listen(listener, 16) == 0, "listen");
  address = local_address(listener);
  Pair pair;
  pair.client = socket(domain(family), SOCK_STREAM, 0);
  require(connect(pair.client, address.get(), address.size) == 0, "connect");
  pair.server = accept(listener, nullptr, nullptr);
  require(pair.server >= 0, "accept");
  ::close(listener);
  return pair;
}

int bound_udp(Family family) {
  const int fd = socket(domain(family), SOCK_DGRAM, 0);
  require(fd >= 0, "socket");
  Address address = loopback(family);
  require(bind(fd, address.get(), address.size) == 0, "bind");
  return fd;
}

Pair connect_udp(Family family) {
  Pair pair{bound_udp(family), bound_udp(family)};
  Address client = local_address(pair.client);
  Address server = local_address(pair.server);
  require(connect(pair.client, server.get(), server.size) == 0, "connect");
  require(connect(pair.server, client.get(), client.size) == 0, "connect");
  return pair;
}

void send_all(int fd, const std::string& bytes) {
  require(write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "write");
}

std::string receive(int fd, size_t room) {
  std::string bytes(room, '\0');
  const ssize_t got = read(fd, bytes.data(), bytes.size());
  require(got >= 0, "read");
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

uint32_t next_send_seq(int fd) { return repair_seq(fd, kSendQueue); }
uint32_t next_receive_seq(int fd) { return repair_seq(fd, kReceiveQueue); }

std::string dns_query(const std::string& name, uint16_t id) {
  return dns_header(id, "\1\0\0\1\0\0\0\0\0\0") + dns_question(name);
}

std::string dns_answer(const std::string& name, uint16_t id) {
  return dns_header(id, "\x81\x80\0\1\0\1\0\0\0\0") + dns_question(name) +
         std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", 16);
}

std::string with_dns_length(const std::string& message) {
  return std::string{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())} +
         message;
}

void* shared_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, "mmap");
  return memory;
}

}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
// Sockets and messages for the tests' child processes. Everything here ends the process
// with status 1 when the kernel does not do what it should.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace ebpf::test {

// Ends the child with `line` on stderr unless `ok`.
void require(bool ok, const char* what);

enum class Family { kInet, kInet6, kMapped };

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  uint16_t port() const;
};

// A loopback address of the family, port 0.
Address loopback(Family family);
Address local_address(int fd);

struct Pair {
  int client = -1;
  int server = -1;
  void close();
};
// Two ends of one TCP connection, both in this process.
Pair connect_tcp(Family family);
// Two UDP sockets connected to each other.
Pair connect_udp(Family family);
int bound_udp(Family family);

void send_all(int fd, const std::string& bytes);   // one write()
std::string receive(int fd, size_t room = 65536);  // one read()

// Sequence numbers as TCP_REPAIR tells them, which only root may ask.
uint32_t next_send_seq(int fd);
uint32_t next_receive_seq(int fd);

// A DNS query for `name`, and an answer to it.
std::string dns_query(const std::string& name, uint16_t id = 0x1234);
std::string dns_answer(const std::string& name, uint16_t id = 0x1234);
std::string with_dns_length(const std::string& message);  // as over TCP

// Memory that parent and child share: the child leaves there what it knows to be true.
void* shared_memory(size_t bytes);
template <class T>
T& shared() {
  return *static_cast<T*>(shared_memory(sizeof(T)));
}

}  // namespace ebpf::test

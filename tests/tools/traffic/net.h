// SPDX-License-Identifier: Apache-2.0
// Sockets of the traffic program, and the four ways in which it moves bytes. Plain system
// calls, no library of the project: what it says it did is compared with what was traced.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace traffic {

// Which system calls move the bytes; recv() and send() are recvfrom and sendto in the kernel.
enum class Way { kReadWrite, kRecvSend, kRecvmsgSendmsg, kReadvWritev };
inline constexpr Way kWays[] = {Way::kReadWrite, Way::kRecvSend, Way::kRecvmsgSendmsg,
                                Way::kReadvWritev};
const char* sender_name(Way way);    // the system call that sends
const char* receiver_name(Way way);  // the system call that receives

// Prints "ebpf-traffic: what: errno text" and ends with status 1.
[[noreturn]] void die(const std::string& what);
// The same without an errno text.
[[noreturn]] void fail(const std::string& what);

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  uint16_t port() const;
};

// "127.0.0.1", "::1" or "localhost"; names are not looked up.
Address make_address(const std::string& host, uint16_t port);
Address loopback(int family, uint16_t port);

int open_socket(int family, int type);  // with time-outs of a few seconds
int listen_on(const Address& address, int type);
int connect_to(const Address& address, int type);
void bind_to(int fd, const Address& address);
void connect_socket(int fd, const Address& address);
int accept_from(int listener);
Address local_address(int fd);
bool ipv6_works();

// One system call each. Payloads are cut in three for the vectored ones.
void send_all(int fd, Way way, std::string_view bytes);  // must go out in one call
ssize_t receive(int fd, Way way, char* to, size_t size);
// For a UDP socket without a peer.
ssize_t receive_from(int fd, Way way, char* to, size_t size, Address* peer);
void send_to(int fd, Way way, std::string_view bytes, const Address& peer);

}  // namespace traffic

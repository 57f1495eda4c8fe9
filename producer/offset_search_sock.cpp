// SPDX-License-Identifier: Apache-2.0
// struct sock: sockets in many states, each compared with what the system calls say of it.
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>

#include "producer/offset_search_candidates.h"
#include "producer/offset_search_sockets.h"
#include "producer/offset_search_steps.h"

namespace ebpf::search {
namespace {

constexpr uint8_t kStateClosed = 7;  // TCP_CLOSE, of unconnected UDP sockets too

// sk_flags, enum sock_flags in include/net/sock.h; the first bits are the same since 2.6.
constexpr uint64_t kFlagDone = 1u << 1;
constexpr uint64_t kFlagUrgentInline = 1u << 2;
constexpr uint64_t kFlagKeepOpen = 1u << 3;
constexpr uint64_t kFlagLinger = 1u << 4;
constexpr uint64_t kFlagBroadcast = 1u << 6;
constexpr uint64_t kFlagMask = 0x7e;  // bits 1 to 6

// What is known of one socket. What is not set is not compared.
struct Expected {
  std::optional<uint16_t> family, type, protocol;
  std::optional<uint8_t> state;
  std::optional<uint32_t> daddr, rcv_saddr;  // network order
  std::optional<uint16_t> dport, num;        // host order
  std::optional<in6_addr> v6_daddr, v6_rcv_saddr;
};

class SockFields {
 public:
  explicit SockFields(SearchState& state) : state_(state) {}

  Result<> compare(int fd, const Expected& expected);
  Result<> compare_flags(int fd, uint64_t flags);
  Result<> store();

 private:
  SearchState& state_;
  Candidates family_{"sock.skc_family", 2, kSockWindow};
  Candidates socket_state_{"sock.skc_state", 1, kSockWindow};
  Candidates daddr_{"sock.skc_daddr", 4, kSockWindow};
  Candidates rcv_saddr_{"sock.skc_rcv_saddr", 4, kSockWindow};
  Candidates dport_{"sock.skc_dport", 2, kSockWindow};
  Candidates num_{"sock.skc_num", 2, kSockWindow};
  Candidates v6_daddr_{"sock.skc_v6_daddr", 4, kSockWindow};
  Candidates v6_rcv_saddr_{"sock.skc_v6_rcv_saddr", 4, kSockWindow};
  Candidates flags_{"sock.sk_flags", 8, kSockWindow};
  Candidates type_{"sock.sk_type", 2, kSockWindow};
  Candidates protocol_byte_{"sock.sk_protocol", 1, kSockWindow};
  Candidates protocol_word_{"sock.sk_protocol", 2, kSockWindow};
};

Result<> SockFields::compare(int fd, const Expected& expected) {
  auto window = sock_window(state_, fd);
  if (!window) return window.error();
  auto keep = [&](Candidates& field, const auto& value) {
    if (value) field.keep(*window, *value);
  };
  keep(family_, expected.family);
  keep(type_, expected.type);
  keep(socket_state_, expected.state);
  keep(daddr_, expected.daddr);
  keep(rcv_saddr_, expected.rcv_saddr);
  if (expected.dport) dport_.keep(*window, htons(*expected.dport));
  keep(num_, expected.num);
  keep(v6_daddr_, expected.v6_daddr);
  keep(v6_rcv_saddr_, expected.v6_rcv_saddr);
  if (expected.protocol) {
    protocol_word_.keep(*window, *expected.protocol);
    if (*expected.protocol < 256)
      protocol_byte_.keep(*window, static_cast<uint8_t>(*expected.protocol));
  }
  return Unit{};
}

Result<> SockFields::compare_flags(int fd, uint64_t flags) {
  auto window = sock_window(state_, fd);
  if (!window) return window.error();
  flags_.keep_value<uint64_t>(*window,
                              [&](uint64_t value) { return (value & kFlagMask) == flags; });
  return Unit{};
}

Result<> SockFields::store() {
  offsets_table& table = state_.table;
  const std::pair<const Candidates*, uint32_t*> fields[] = {
      {&family_, &table.sock_family}, {&socket_state_, &table.sock_state},
      {&daddr_, &table.sock_daddr},   {&rcv_saddr_, &table.sock_rcv_saddr},
      {&dport_, &table.sock_dport},   {&num_, &table.sock_num},
      {&flags_, &table.sock_flags},   {&type_, &table.sock_type}};
  for (const auto& [field, slot] : fields)
    if (auto stored = field->store(slot); !stored) return stored;
  if (state_.has_ipv6) {
    if (auto stored = v6_daddr_.store(&table.sock_v6_daddr); !stored) return stored;
    if (auto stored = v6_rcv_saddr_.store(&table.sock_v6_rcv_saddr); !stored) return stored;
  }
  auto protocol = protocol_field(protocol_byte_, protocol_word_);
  if (!protocol) return protocol.error();
  table.sock_protocol = protocol->offset;
  table.sock_protocol_bytes = protocol->bytes;
  return Unit{};
}

uint16_t protocol_of(int type) { return type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP; }

// A new socket, nothing done to it.
Expected expect_new(int family, int type) {
  Expected expected;
  expected.family = static_cast<uint16_t>(family);
  expected.type = static_cast<uint16_t>(type);
  expected.protocol = protocol_of(type);
  expected.state = kStateClosed;
  expected.daddr = expected.rcv_saddr = 0;
  expected.dport = expected.num = 0;
  return expected;
}

// A socket that has addresses: as getsockname and getpeername say.
Expected expect_addresses(int fd, int family, int type) {
  Expected expected = expect_new(family, type);
  Address local = local_address(fd), peer = peer_address(fd);
  expected.rcv_saddr = local.ipv4();
  expected.num = local.port();
  expected.daddr = peer.ipv4();
  expected.dport = peer.port();
  if (family == AF_INET6) {
    expected.v6_rcv_saddr = local.ipv6();
    if (peer.bytes != 0) expected.v6_daddr = peer.ipv6();
  }
  return expected;
}

Result<> compare_tcp(SockFields& fields, int fd, int family) {
  auto state = tcp_state(fd);
  if (!state) return state.error();
  Expected expected = expect_addresses(fd, family, SOCK_STREAM);
  expected.state = *state;
  return fields.compare(fd, expected);
}

// Listening, both ends established, then half closed: six states of TCP in all.
Result<> compare_tcp_sockets(SockFields& fields, int family) {
  auto fresh = make_socket(family, SOCK_STREAM, 0);
  if (!fresh) return fresh.error();
  if (auto done = fields.compare(fresh->get(), expect_new(family, SOCK_STREAM)); !done) return done;

  auto pair = make_tcp_pair(family, next_loopback_address(), next_loopback_address());
  if (!pair) return pair.error();
  for (const UniqueFd* fd : {&pair->listener, &pair->client, &pair->accepted})
    if (auto done = compare_tcp(fields, fd->get(), family); !done) return done;
  if (auto done = fields.compare_flags(pair->accepted.get(), 0); !done) return done;

  if (shutdown(pair->client.get(), SHUT_WR) != 0) return errno_error("shutdown(SHUT_WR)");
  bool half_closed = wait_until([&] {
    auto client = tcp_state(pair->client.get()), accepted = tcp_state(pair->accepted.get());
    return client && accepted && *client == TCP_FIN_WAIT2 && *accepted == TCP_CLOSE_WAIT;
  });
  if (!half_closed)
    return errno_error("waiting for the FIN of a TCP connection on loopback", ETIMEDOUT);
  for (const UniqueFd* fd : {&pair->client, &pair->accepted})
    if (auto done = compare_tcp(fields, fd->get(), family); !done) return done;
  // The one that has received a FIN.
  return fields.compare_flags(pair->accepted.get(), kFlagDone);
}

// TCP and UDP remember the addresses of a connect elsewhere as well (in the cork); only in
// the sock itself are they cleared by a disconnect.
Result<> compare_udp_disconnect(SockFields& fields) {
  auto peer = make_socket(AF_INET, SOCK_DGRAM, 0);
  if (!peer) return peer.error();
  auto bound = bind_socket(peer->get(), make_address(AF_INET, next_loopback_address(), 0));
  if (!bound) return bound;
  auto fd = make_socket(AF_INET, SOCK_DGRAM, 0);
  if (!fd) return fd.error();
  bound = bind_socket(fd->get(), make_address(AF_INET, next_loopback_address(), 0));
  if (!bound) return bound;
  if (auto done = connect_socket(fd->get(), local_address(peer->get())); !done) return done;

  Expected expected = expect_addresses(fd->get(), AF_INET, SOCK_DGRAM);
  expected.state = TCP_ESTABLISHED;
  if (auto done = fields.compare(fd->get(), expected); !done) return done;
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (connect(fd->get(), &nobody, sizeof(nobody)) != 0)
    return errno_error("disconnecting a UDP socket");
  expected = expect_addresses(fd->get(), AF_INET, SOCK_DGRAM);
  expected.num.reset();  // a port that the kernel chose is given back, here or there
  return fields.compare(fd->get(), expected);
}

// Bound to a multicast address, a socket receives from that address and sends from another:
// this tells skc_rcv_saddr from the address that it sends from.
Result<> compare_multicast(SockFields& fields, int family) {
  in6_addr group{};
  const uint8_t prefix[] = {0xff, 0x0e, 0x5a, 0x17};
  for (int i = 0; i < 16; i++)
    group.s6_addr[i] = i < 4 ? prefix[i] : static_cast<uint8_t>(0x91 + i);
  for (uint32_t i = 0; i < 2; i++) {
    auto fd = make_socket(family, SOCK_DGRAM, 0);
    if (!fd) return fd.error();
    group.s6_addr[15]++;
    Address address = family == AF_INET6 ? make_ipv6_address(group, 0)
                                         : make_address(AF_INET, 0xef534107 + (i << 8), 0);
    if (auto bound = bind_socket(fd->get(), address); !bound) {
      Error error = bound.error();
      error.message += ", to a multicast address";
      return error;
    }
    Expected expected = expect_addresses(fd->get(), family, SOCK_DGRAM);
    expected.rcv_saddr = address.ipv4();
    if (family == AF_INET6) {
      expected.v6_rcv_saddr = group;
      expected.rcv_saddr.reset();  // not used by such a socket
    }
    if (auto done = fields.compare(fd->get(), expected); !done) return done;
  }
  return Unit{};
}

Result<> compare_mapped_udp(SockFields& fields) {
  auto fd = make_socket(AF_INET6, SOCK_DGRAM, 0);
  if (!fd) return fd.error();
  Address peer = make_address(AF_INET6, next_loopback_address(), 40961);
  if (auto done = connect_socket(fd->get(), peer); !done) return done;
  Expected expected = expect_addresses(fd->get(), AF_INET6, SOCK_DGRAM);
  expected.state = TCP_ESTABLISHED;
  return fields.compare(fd->get(), expected);
}

// Sockets of other families and protocols; what this kernel or our rights lack is left out.
Result<> compare_other_families(SockFields& fields) {
  struct Other {
    int family, type, protocol;
    bool has_protocol;
  };
  const Other others[] = {{AF_UNIX, SOCK_STREAM, 0, false},
                          {AF_UNIX, SOCK_SEQPACKET, 0, false},
                          {AF_UNIX, SOCK_DGRAM, 0, false},
                          {AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, true},
                          {AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT, true},
                          {AF_NETLINK, SOCK_RAW, NETLINK_GENERIC, true},
                          {AF_INET, SOCK_RAW, 253, true},
                          {AF_INET, SOCK_RAW, 219, true},
                          {AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE, true},
                          {AF_INET, SOCK_STREAM, IPPROTO_MPTCP, true}};
  for (const Other& other : others) {
    auto fd = make_socket(other.family, other.type, other.protocol);
    if (!fd) continue;
    Expected expected;
    expected.family = static_cast<uint16_t>(other.family);
    expected.type = static_cast<uint16_t>(other.type);
    if (other.has_protocol) expected.protocol = static_cast<uint16_t>(other.protocol);
    if (auto done = fields.compare(fd->get(), expected); !done) return done;
  }
  return Unit{};
}

Result<> set_flag_option(int fd, int option, bool on) {
  int value = on;
  linger lingering = {on, 7};
  const void* data = option == SO_LINGER ? static_cast<const void*>(&lingering) : &value;
  socklen_t bytes = option == SO_LINGER ? sizeof(lingering) : sizeof(value);
  if (setsockopt(fd, SOL_SOCKET, option, data, bytes) != 0)
    return errno_error("setting socket option " + std::to_string(option));
  return Unit{};
}

// Options that are one bit of sk_flags each: on one after the other, then off again.
Result<> compare_option_flags(SockFields& fields, int type) {
  const std::pair<int, uint64_t> options[] = {{SO_OOBINLINE, kFlagUrgentInline},
                                              {SO_KEEPALIVE, kFlagKeepOpen},
                                              {SO_LINGER, kFlagLinger},
                                              {SO_BROADCAST, kFlagBroadcast}};
  auto fd = make_socket(AF_INET, type, 0);
  if (!fd) return fd.error();
  uint64_t flags = 0;
  if (auto done = fields.compare_flags(fd->get(), flags); !done) return done;
  for (bool on : {true, false}) {
    for (const auto& [option, bit] : options) {
      if (auto set = set_flag_option(fd->get(), option, on); !set) return set;
      flags ^= bit;
      if (auto done = fields.compare_flags(fd->get(), flags); !done) return done;
    }
  }
  return Unit{};
}

// A kernel without IPv6 has no such sockets; an error of another kind stays one.
Result<bool> has_ipv6() {
  auto fd = make_socket(AF_INET6, SOCK_STREAM, 0);
  if (fd) return true;
  if (fd.error().code == EAFNOSUPPORT) return false;
  return fd.error();
}

Result<> compare_ipv6(SockFields& fields) {
  for (int i = 0; i < 2; i++)
    if (auto done = compare_tcp_sockets(fields, AF_INET6); !done) return done;
  if (auto done = compare_mapped_udp(fields); !done) return done;
  return compare_multicast(fields, AF_INET6);
}

}  // namespace

Result<ProtocolField> protocol_field(const Candidates& byte, const Candidates& word) {
  auto byte_at = byte.only();
  if (!byte_at) return byte_at.error();
  if (word.offsets().empty()) return ProtocolField{*byte_at, 1};
  auto word_at = word.only();
  if (!word_at) return word_at.error();
  if (*word_at == *byte_at) return ProtocolField{*word_at, 2};
  return field_error("sock.sk_protocol",
                     {ENOENT, "as a byte it is at " + std::to_string(*byte_at) + ", as a word at " +
                                  std::to_string(*word_at)});
}

Result<> find_sock_fields(SearchState& state) {
  SockFields fields(state);
  for (int i = 0; i < 2; i++) {
    if (auto done = compare_tcp_sockets(fields, AF_INET); !done)
      return field_error("sock.skc_state, skc_num, skc_dport", done.error());
    if (auto done = compare_udp_disconnect(fields); !done)
      return field_error("sock.skc_daddr", done.error());
  }
  if (auto done = compare_multicast(fields, AF_INET); !done)
    return field_error("sock.skc_rcv_saddr", done.error());
  for (int type : {SOCK_STREAM, SOCK_DGRAM})
    if (auto done = compare_option_flags(fields, type); !done)
      return field_error("sock.sk_flags", done.error());
  if (auto done = compare_other_families(fields); !done)
    return field_error("sock.skc_family", done.error());

  auto ipv6 = has_ipv6();
  if (!ipv6) return field_error("sock.skc_v6_daddr", ipv6.error());
  state.has_ipv6 = *ipv6;
  if (state.has_ipv6) {
    if (auto done = compare_ipv6(fields); !done)
      return field_error("sock.skc_v6_daddr, skc_v6_rcv_saddr", done.error());
  } else {
    state.log(LogLevel::kInfo, "offset search: this kernel has no IPv6, its offsets stay 0");
  }
  return fields.store();
}

}  // namespace ebpf::search

// SPDX-License-Identifier: Apache-2.0
// Both attach back ends, and both BPF objects, tell the same of the same traffic.
#include <sys/uio.h>
#include <unistd.h>

#include <map>
#include <sstream>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "DELETE /thing HTTP/1.1\r\nHost: test\r\n\r\n";
const std::string kResponse = "HTTP/1.1 204 No Content\r\n\r\n";

void http(Family family) {
  Pair pair = connect_tcp(family);
  send_all(pair.client, kRequest);
  receive(pair.server);
  send_all(pair.server, kResponse);
  receive(pair.client);
  send_all(pair.server, "something else");
  shutdown(pair.server, SHUT_WR);
  while (!receive(pair.client, 6).empty()) {
  }
  pair.close();
}

void dns(Family family) {
  const std::string query = dns_query("name.example");
  const int client = bound_udp(family);
  const int server = bound_udp(family);
  Address to = local_address(server);
  Address from = to;
  char room[512];
  require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) > 0, "sendto");
  require(recvfrom(server, room, sizeof(room), 0, from.get(), &from.size) > 0, "recvfrom");
  const std::string answer = dns_answer("name.example");
  require(sendto(server, answer.data(), answer.size(), 0, from.get(), from.size) > 0, "sendto");
  require(recv(client, room, sizeof(room), MSG_PEEK) > 0, "peek");
  require(recv(client, room, sizeof(room), 0) > 0, "recv");
  close(client);
  close(server);
}

void vectors() {
  Pair pair = connect_tcp(Family::kInet);
  iovec parts[] = {{const_cast<char*>(kRequest.data()), 4},
                   {const_cast<char*>(kRequest.data()) + 4, kRequest.size() - 4}};
  char room[512];
  iovec rooms[] = {{room, 9}, {room + 9, 500}};
  msghdr out = {};
  out.msg_iov = parts;
  out.msg_iovlen = 2;
  msghdr in = {};
  in.msg_iov = rooms;
  in.msg_iovlen = 2;
  require(writev(pair.client, parts, 2) > 0, "writev");
  require(readv(pair.server, rooms, 2) > 0, "readv");
  require(sendmsg(pair.client, &out, 0) > 0, "sendmsg");
  require(recvmsg(pair.server, &in, 0) > 0, "recvmsg");
  pair.close();
}

void many_messages() {
  constexpr size_t kCount = 14;  // more than become records
  Pair pair = connect_udp(Family::kInet6);
  std::string queries[kCount];
  iovec iovs[kCount];
  mmsghdr messages[kCount] = {};
  for (size_t i = 0; i < kCount; i++) {
    queries[i] = dns_query("host" + std::to_string(i) + ".example");
    iovs[i] = {queries[i].data(), queries[i].size()};
    messages[i].msg_hdr.msg_iov = &iovs[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  require(sendmmsg(pair.client, messages, kCount, 0) == kCount, "sendmmsg");
  require(recvmmsg(pair.server, messages, kCount, 0, nullptr) == kCount, "recvmmsg");
}

int traffic() {
  for (const Family family : {Family::kInet, Family::kInet6, Family::kMapped}) {
    http(family);
    dns(family);
  }
  vectors();
  many_messages();
  return 0;
}

// What must be equal: ids in the order of their appearance, ports in that of their socket,
// sequence numbers relative to the socket's first.
std::vector<std::string> describe(const std::vector<Event>& events) {
  std::map<uint64_t, size_t> sockets;
  std::map<uint64_t, size_t> traces;
  std::map<uint64_t, std::map<uint16_t, size_t>> ports;
  std::map<std::pair<uint64_t, int>, uint64_t> first_seq;
  const auto nth = [](auto& seen, auto value) {
    return seen.emplace(value, seen.size()).first->second;
  };
  std::vector<std::string> lines;
  for (const Event& event : events) {
    const SK_BPF_DATA& data = event.data;
    const uint64_t first =
        first_seq.emplace(std::pair(data.socket_id, data.direction), data.tcp_seq).first->second;
    std::ostringstream line;
    line << "socket " << nth(sockets, data.socket_id) << " #" << data.cap_seq << " trace "
         << (data.syscall_trace_id_call ? nth(traces, data.syscall_trace_id_call) + 1 : 0)
         << " direction " << int{data.direction} << " l7 " << data.l7_protocal_hint << " type "
         << int{data.msg_type} << " likely " << data.need_reconfirm << " l4 "
         << int{data.tuple.protocol} << " family " << int{data.tuple.addr_len} << " ports "
         << nth(ports[data.socket_id], data.tuple.lport) << ' '
         << nth(ports[data.socket_id], data.tuple.rport) << " seq +"
         << static_cast<uint32_t>(data.tcp_seq - first) << " moved " << data.syscall_len << ": "
         << testing::PrintToString(event.payload);
    lines.push_back(line.str());
  }
  return lines;
}

uint32_t kind_of(AttachMode attach) {
  if (attach == AttachMode::kDirect) return EBPF_ATTACH_DIRECT;
  return attach == AttachMode::kRaw ? EBPF_ATTACH_RAW : EBPF_ATTACH_TRACEPOINT;
}

TEST(SameRecords, ComeFromEveryObjectAndBackEnd) {
  std::vector<std::string> reference;
  for (const Variant& variant : all_variants()) {
    SCOPED_TRACE(variant.name);
    EBPF_OPEN_TRACING(tracing, small_options(variant));
    const auto lines = describe(tracing->trace(traffic));
    EXPECT_EQ(tracing->tracer().attach_kind(), kind_of(variant.attach));
    if (reference.empty()) {
      reference = lines;
      EXPECT_EQ(lines.size(), 3u * (8 + 4) + 4 + 2 * 10);
      continue;
    }
    EXPECT_EQ(lines.size(), reference.size());
    for (size_t i = 0; i < std::min(lines.size(), reference.size()); i++) {
      EXPECT_EQ(lines[i], reference[i]) << "record " << i;
    }
  }
}

}  // namespace
}  // namespace ebpf::test

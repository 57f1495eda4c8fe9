// SPDX-License-Identifier: Apache-2.0
// What a record says, field by field, with both BPF objects. That the tracepoint back end
// says the same is checked in same_records_test.cpp.
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";
const std::string kResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

uint64_t monotonic_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string address_text(const uint8_t* bytes, uint8_t addr_len) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(addr_len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
  return text;
}

class BothObjects : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(KernelTracer, BothObjects, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

struct Expected {
  const char* address;
  uint8_t addr_len;
  uint8_t protocol;
};

void expect_tuple(const Event& event, const Expected& expected, uint16_t rport, uint16_t lport) {
  const tuple_t& tuple = event.data.tuple;
  EXPECT_EQ(tuple.addr_len, expected.addr_len);
  EXPECT_EQ(tuple.protocol, expected.protocol);
  EXPECT_EQ(address_text(tuple.raddr, tuple.addr_len), expected.address);
  EXPECT_EQ(address_text(tuple.laddr, tuple.addr_len), expected.address);
  EXPECT_EQ(tuple.rport, rport);
  EXPECT_EQ(tuple.lport, lport);
  if (tuple.addr_len == 4) {
    for (int i = 4; i < 16; i++) EXPECT_EQ(tuple.raddr[i] | tuple.laddr[i], 0);
  }
}

// Every byte that no field owns is zero: nothing of the kernel or of other records leaks.
void expect_zero_padding(const SK_BPF_DATA& data) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&data);
  for (const size_t at : {62,  63,  76,  77,  78,  79,  105, 106, 107, 108, 109, 110, 111,
                          124, 125, 126, 127, 136, 137, 138, 139, 140, 141, 142, 143}) {
    EXPECT_EQ(bytes[at], 0) << "byte " << at;
  }
}

struct TcpTruth {
  uint16_t client_port;
  uint16_t server_port;
  uint32_t client_seq;
  uint32_t server_seq;
};

void check_tcp(const Variant& variant, Family family, const Expected& expected) {
  EBPF_OPEN_TRACING(tracing, small_options(variant));
  auto& truth = shared<TcpTruth>();
  const uint64_t before = monotonic_ns();
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(family);
    truth = {local_address(pair.client).port(), local_address(pair.server).port(),
             next_send_seq(pair.client), next_send_seq(pair.server)};
    send_all(pair.client, kRequest);
    require(receive(pair.server) == kRequest, "request");
    send_all(pair.server, kResponse);
    require(receive(pair.client) == kResponse, "response");
    pair.close();
    return 0;
  });
  const uint64_t after = monotonic_ns();

  ASSERT_EQ(events.size(), 4u);
  const struct {
    const std::string& payload;
    uint8_t msg_type, direction;
    uint16_t rport, lport;
    uint32_t seq;
    uint64_t cap_seq;
  } wanted[] = {
      {kRequest, MSG_REQUEST, SOCK_DIR_SND, truth.server_port, truth.client_port, truth.client_seq,
       0},
      {kRequest, MSG_REQUEST, SOCK_DIR_RCV, truth.client_port, truth.server_port, truth.client_seq,
       0},
      {kResponse, MSG_RESPONSE, SOCK_DIR_SND, truth.client_port, truth.server_port,
       truth.server_seq, 1},
      {kResponse, MSG_RESPONSE, SOCK_DIR_RCV, truth.server_port, truth.client_port,
       truth.server_seq, 1},
  };
  uint64_t last_timestamp = before;
  for (size_t i = 0; i < events.size(); i++) {
    SCOPED_TRACE(i);
    const SK_BPF_DATA& data = events[i].data;
    EXPECT_EQ(events[i].payload, wanted[i].payload);
    EXPECT_EQ(data.thread_id, data.process_id);
    EXPECT_EQ(reinterpret_cast<const char*>(data.process_name), own_name());
    expect_tuple(events[i], expected, wanted[i].rport, wanted[i].lport);
    EXPECT_EQ(data.l7_protocal_hint, SOCK_DATA_HTTP1);
    EXPECT_EQ(data.msg_type, wanted[i].msg_type);
    EXPECT_FALSE(data.need_reconfirm);
    EXPECT_EQ(data.tcp_seq, wanted[i].seq);
    EXPECT_EQ(data.direction, wanted[i].direction);
    EXPECT_EQ(data.syscall_len, wanted[i].payload.size());
    EXPECT_EQ(data.cap_len, wanted[i].payload.size());
    EXPECT_EQ(data.cap_seq, wanted[i].cap_seq);
    EXPECT_GE(data.timestamp, last_timestamp);
    expect_zero_padding(data);
    last_timestamp = data.timestamp;
  }
  EXPECT_LE(last_timestamp, after);
  EXPECT_EQ(events[0].data.socket_id, events[3].data.socket_id);
  EXPECT_EQ(events[1].data.socket_id, events[2].data.socket_id);
  EXPECT_NE(events[0].data.socket_id, events[1].data.socket_id);
}

TEST_P(BothObjects, FillsEveryFieldForTcpOverIpv4) {
  check_tcp(GetParam(), Family::kInet, {"127.0.0.1", 4, IPPROTO_TCP});
}
TEST_P(BothObjects, FillsEveryFieldForTcpOverIpv6) {
  check_tcp(GetParam(), Family::kInet6, {"::1", 6, IPPROTO_TCP});
}
TEST_P(BothObjects, ShowsMappedAddressesAsIpv4) {
  check_tcp(GetParam(), Family::kMapped, {"127.0.0.1", 4, IPPROTO_TCP});
}

TEST_P(BothObjects, RecognisesDnsOverConnectedUdp) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  for (const Family family : {Family::kInet, Family::kInet6, Family::kMapped}) {
    auto& truth = shared<TcpTruth>();
    const std::string query = dns_query("www.example.org");
    const std::string answer = dns_answer("www.example.org");
    const auto events = tracing->trace([&] {
      Pair pair = connect_udp(family);
      truth = {local_address(pair.client).port(), local_address(pair.server).port(), 0, 0};
      send_all(pair.client, query);
      require(receive(pair.server) == query, "query");
      send_all(pair.server, answer);
      require(receive(pair.client) == answer, "answer");
      return 0;
    });
    ASSERT_EQ(events.size(), 4u);
    const Expected expected = {family == Family::kInet6 ? "::1" : "127.0.0.1",
                               static_cast<uint8_t>(family == Family::kInet6 ? 6 : 4), IPPROTO_UDP};
    expect_tuple(events[0], expected, truth.server_port, truth.client_port);
    expect_tuple(events[1], expected, truth.client_port, truth.server_port);
    for (size_t i = 0; i < events.size(); i++) {
      const SK_BPF_DATA& data = events[i].data;
      EXPECT_EQ(data.l7_protocal_hint, SOCK_DATA_DNS);
      EXPECT_EQ(data.msg_type, i < 2 ? MSG_REQUEST : MSG_RESPONSE);
      EXPECT_EQ(data.tcp_seq, 0u);
      EXPECT_EQ(events[i].payload, i < 2 ? query : answer);
      expect_zero_padding(data);
    }
  }
}

TEST_P(BothObjects, TakesTheUdpPeerFromTheCall) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  for (const Family family : {Family::kInet, Family::kInet6, Family::kMapped}) {
    auto& truth = shared<TcpTruth>();
    const std::string query = dns_query("example.org");
    const auto events = tracing->trace([&] {
      const int client = bound_udp(family);
      const int server = bound_udp(family);
      Address to = local_address(server);
      Address from = to;
      char room[512];
      truth = {local_address(client).port(), to.port(), 0, 0};
      const auto size = static_cast<ssize_t>(query.size());
      require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) == size, "sendto");
      require(recvfrom(server, room, sizeof(room), 0, from.get(), &from.size) == size, "recvfrom");

      iovec iov = {const_cast<char*>(query.data()), query.size()};
      msghdr message = {};
      message.msg_name = to.get();
      message.msg_namelen = to.size;
      message.msg_iov = &iov;
      message.msg_iovlen = 1;
      require(sendmsg(client, &message, 0) == size, "sendmsg");
      iov = {room, sizeof(room)};
      message.msg_name = from.get();
      message.msg_namelen = sizeof(from.storage);
      require(recvmsg(server, &message, 0) == size, "recvmsg");

      // Nobody asks who sent this one.
      require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) == size, "sendto");
      require(recv(server, room, sizeof(room), 0) == size, "recv");
      return 0;
    });
    ASSERT_EQ(events.size(), 6u);
    const Expected expected = {family == Family::kInet6 ? "::1" : "127.0.0.1",
                               static_cast<uint8_t>(family == Family::kInet6 ? 6 : 4), IPPROTO_UDP};
    for (size_t i = 0; i < 5; i += 2) {
      expect_tuple(events[i], expected, truth.server_port, truth.client_port);
    }
    expect_tuple(events[1], expected, truth.client_port, truth.server_port);
    expect_tuple(events[3], expected, truth.client_port, truth.server_port);
    EXPECT_EQ(events[5].data.tuple.rport, 0);
    EXPECT_EQ(events[5].data.tuple.lport, truth.server_port);
  }
}

TEST_P(BothObjects, RecognisesDnsOverTcp) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string query = with_dns_length(dns_query("example.org"));
  const std::string answer = dns_answer("example.org");
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, query);
    require(receive(pair.server) == query, "query");
    send_all(pair.server, with_dns_length(answer));
    require(receive(pair.client, 2).size() == 2, "length");
    require(receive(pair.client) == answer, "answer");
    return 0;
  });
  ASSERT_EQ(events.size(), 4u);  // the length and the answer are one
  const uint8_t types[] = {MSG_REQUEST, MSG_REQUEST, MSG_RESPONSE, MSG_RESPONSE};
  for (size_t i = 0; i < events.size(); i++) {
    EXPECT_EQ(events[i].data.l7_protocal_hint, SOCK_DATA_DNS);
    EXPECT_EQ(events[i].data.msg_type, types[i]) << i;
  }
}

// A length that nothing follows is a record of its own, ahead of what happens next.
TEST_P(BothObjects, GivesALengthAwayThatNothingFollows) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string query = with_dns_length(dns_query("example.org"));
  const std::string answer = with_dns_length(dns_answer("example.org"));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, query);
    send_all(pair.server, answer);
    require(receive(pair.client, 2).size() == 2, "length");
    send_all(pair.client, query);
    require(receive(pair.client) == answer.substr(2), "the rest");
    return 0;
  });
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[2].data.direction, SOCK_DIR_RCV);
  EXPECT_EQ(events[2].payload, answer.substr(0, 2));
  EXPECT_EQ(events[2].data.syscall_len, 2u);
  EXPECT_EQ(events[3].data.direction, SOCK_DIR_SND);
  EXPECT_EQ(events[3].payload, query);
  EXPECT_EQ(events[3].data.cap_seq, events[2].data.cap_seq + 1);
  EXPECT_EQ(events[4].payload, answer.substr(2));
  EXPECT_EQ(events[4].data.tcp_seq, events[2].data.tcp_seq + 2);
}

// Servers read the length first: the bytes of both calls are one record.
TEST_P(BothObjects, JoinsALengthThatWasReadAlone) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string query = with_dns_length(dns_query("example.org"));
  auto& truth = shared<TcpTruth>();
  Pair known = connect_tcp(Family::kInet);  // this process, which sends, is not traced
  Pair noise = connect_tcp(Family::kInet);
  send_all(known.client, query);
  send_all(noise.client, std::string("\0\1", 2) + "that is none of the protocols");
  const auto events = tracing->trace([&] {
    require(receive(noise.server, 2).size() == 2, "noise");
    receive(noise.server);
    truth.client_seq = next_receive_seq(known.server) - static_cast<uint32_t>(query.size());
    require(receive(known.server, 2).size() == 2, "length");
    require(receive(known.server).size() == query.size() - 2, "body");
    return 0;
  });
  known.close();
  noise.close();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].payload, query);
  EXPECT_EQ(events[0].data.syscall_len, query.size());
  EXPECT_EQ(events[0].data.msg_type, MSG_REQUEST);
  EXPECT_EQ(events[0].data.tcp_seq, truth.client_seq);
}

// While a call waits for room, another thread changes what the call was given. The bytes
// that the records show are user memory, or none.
TEST_P(BothObjects, ReadsNoKernelMemoryForAPointerThatChanged) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  constexpr uint64_t kKernelAddress = 0xffff888000001000;
  for (const bool is_unmapped : {false, true}) {
    const auto events = tracing->trace([&] {
      Pair pair = connect_tcp(Family::kInet);
      send_all(pair.client, kRequest);
      std::string big(8 << 20, 'x');
      auto& iov = shared<iovec>();
      iov = {big.data(), big.size()};
      std::thread changer([&] {
        // With the first byte here, the kernel has taken in the vector, and waits for room.
        size_t got = 0;
        while (got <= kRequest.size()) got += receive(pair.server, 64).size();
        if (is_unmapped) {
          munmap(&iov, sizeof(iov));
        } else {
          iov.iov_base = reinterpret_cast<void*>(kKernelAddress);
        }
        while (got < big.size() + kRequest.size()) got += receive(pair.server, 1 << 20).size();
      });
      // Not writev(): sanitizers would look at the vector again when it returns.
      require(syscall(SYS_writev, pair.client, &iov, 1) == static_cast<ssize_t>(big.size()),
              "writev");
      changer.join();
      return 0;
    });
    const auto sent = of_direction(events, SOCK_DIR_SND);
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[1].data.syscall_len, 8u << 20);
    EXPECT_EQ(sent[1].data.cap_len, 0u);
    EXPECT_GT(tracing->tracer().counters()[COUNTER_BAD_POINTER], is_unmapped ? 1u : 0u);
  }
}

TEST_P(BothObjects, GathersVectorsUpToTheCaptureLimit) {
  TracerOptions options = small_options(GetParam());
  options.cap_bytes = 100;
  EBPF_OPEN_TRACING(tracing, options);
  const std::string head = "POST /upload HTTP/1.1\r\n";
  const std::string empty;
  const std::string body(200, 'x');
  const std::string all = head + body;
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    const auto size = static_cast<ssize_t>(all.size());
    const iovec parts[] = {{const_cast<char*>(head.data()), 5},
                           {const_cast<char*>(empty.data()), 0},
                           {const_cast<char*>(head.data()) + 5, head.size() - 5},
                           {const_cast<char*>(body.data()), body.size()}};
    char room[512];
    const iovec rooms[] = {{room, 3}, {room + 3, 40}, {room + 43, 400}};
    msghdr out = {};
    out.msg_iov = const_cast<iovec*>(parts);
    out.msg_iovlen = 4;
    msghdr in = {};
    in.msg_iov = const_cast<iovec*>(rooms);
    in.msg_iovlen = 3;
    require(writev(pair.client, parts, 4) == size, "writev");
    require(readv(pair.server, rooms, 3) == size, "readv");
    require(sendmsg(pair.client, &out, 0) == size, "sendmsg");
    require(recvmsg(pair.server, &in, 0) == size, "recvmsg");
    return 0;
  });
  ASSERT_EQ(events.size(), 4u);
  for (const Event& event : events) {
    EXPECT_EQ(event.payload, all.substr(0, 100));
    EXPECT_EQ(event.data.syscall_len, all.size());
    EXPECT_EQ(event.data.cap_len, 100u);
    EXPECT_EQ(event.data.msg_type, MSG_REQUEST);
  }
}

TEST_P(BothObjects, CapturesUpToSixteenKibibytes) {
  TracerOptions options = small_options(GetParam());
  options.cap_bytes = EBPF_CAP_BYTES_MAX;
  EBPF_OPEN_TRACING(tracing, options);
  std::string all = "PUT /big HTTP/1.1\r\n\r\n";
  while (all.size() < 20000) all += std::to_string(all.size()) + " ";
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    const iovec parts[] = {{all.data(), 7}, {all.data() + 7, all.size() - 7}};
    send_all(pair.client, all);
    require(writev(pair.client, parts, 2) == static_cast<ssize_t>(all.size()), "writev");
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  for (const Event& event : events) {
    EXPECT_EQ(event.payload, all.substr(0, EBPF_CAP_BYTES_MAX));
    EXPECT_EQ(event.data.syscall_len, all.size());
  }
}

TEST_P(BothObjects, MakesARecordOfEachMessageOfOneCall) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const std::string queries[] = {dns_query("a.example", 1), dns_query("bb.example", 2),
                                 dns_query("ccc.example", 3)};
  const auto events = tracing->trace([&] {
    Pair pair = connect_udp(Family::kInet);
    iovec iovs[3];
    mmsghdr messages[3] = {};
    for (size_t i = 0; i < 3; i++) {
      iovs[i] = {const_cast<char*>(queries[i].data()), queries[i].size()};
      messages[i].msg_hdr.msg_iov = &iovs[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    require(sendmmsg(pair.client, messages, 3, 0) == 3, "sendmmsg");
    char room[3][256];
    for (size_t i = 0; i < 3; i++) iovs[i] = {room[i], sizeof(room[i])};
    require(recvmmsg(pair.server, messages, 3, 0, nullptr) == 3, "recvmmsg");
    return 0;
  });
  ASSERT_EQ(events.size(), 6u);
  for (size_t i = 0; i < events.size(); i++) {
    EXPECT_EQ(events[i].payload, queries[i % 3]);
    EXPECT_EQ(events[i].data.syscall_len, queries[i % 3].size());
    EXPECT_EQ(events[i].data.cap_seq, i % 3);
    EXPECT_EQ(events[i].data.msg_type, MSG_REQUEST);
  }
}

TEST_P(BothObjects, SkipsPeekedBytes) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    char room[256];
    iovec iov = {room, sizeof(room)};
    msghdr message = {};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    require(recv(pair.server, room, sizeof(room), MSG_PEEK) > 0, "recv");
    require(recvmsg(pair.server, &message, MSG_PEEK) > 0, "recvmsg");
    require(recv(pair.server, room, sizeof(room), MSG_DONTWAIT) > 0, "recv");
    require(recv(pair.server, room, sizeof(room), MSG_DONTWAIT) < 0, "EAGAIN");
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].data.cap_seq, 0u);
}

TEST_P(BothObjects, TakesNoBytesFromABufferThatGotNone) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    receive(pair.server);
    send_all(pair.client, "rest of the body");
    char room[32] = "a secret of the process";
    require(recv(pair.server, room, sizeof(room), MSG_TRUNC) == 16, "recv");
    return 0;
  });
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[3].data.syscall_len, 16u);
  EXPECT_EQ(events[3].data.cap_len, 0u);
  EXPECT_EQ(events[3].data.msg_type, MSG_UNKNOWN);
  EXPECT_EQ(events[3].data.l7_protocal_hint, SOCK_DATA_HTTP1);
}

TEST_P(BothObjects, SequenceNumbersFollowTheBytes) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  auto& truth = shared<TcpTruth>();
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    truth.client_seq = next_send_seq(pair.client);
    require(next_receive_seq(pair.server) == truth.client_seq, "both ends");
    send_all(pair.client, kRequest);
    receive(pair.server, 10);
    send_all(pair.client, "tail");
    shutdown(pair.client, SHUT_WR);
    // The FIN is there already: the last of these reads takes it in with its bytes.
    while (!receive(pair.server, 20).empty()) {
    }
    return 0;
  });
  uint64_t next_sent = truth.client_seq;
  for (const Event& event : of_direction(events, SOCK_DIR_SND)) {
    EXPECT_EQ(event.data.tcp_seq, next_sent & 0xffffffff);
    next_sent += event.data.syscall_len;
  }
  uint64_t next_received = truth.client_seq;
  for (const Event& event : of_direction(events, SOCK_DIR_RCV)) {
    EXPECT_EQ(event.data.tcp_seq, next_received & 0xffffffff);
    next_received += event.data.syscall_len;
  }
  EXPECT_EQ(next_sent, next_received);
  EXPECT_EQ(next_sent, truth.client_seq + kRequest.size() + 4);
}

TEST_P(BothObjects, DeliversEverythingOfARecognisedSocket) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, "PING not HTTP");
    send_all(pair.client, kRequest);
    send_all(pair.client, "body, which looks like nothing");
    send_all(pair.client, kRequest);
    return 0;
  });
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].data.msg_type, MSG_REQUEST);
  EXPECT_EQ(events[1].data.msg_type, MSG_UNKNOWN);
  EXPECT_EQ(events[1].data.l7_protocal_hint, SOCK_DATA_HTTP1);
  EXPECT_EQ(events[2].data.msg_type, MSG_REQUEST);
  EXPECT_GE(tracing->tracer().counters()[COUNTER_UNKNOWN], 1u);
}

TEST_P(BothObjects, CapturesUnknownTrafficOnlyWhenAsked) {
  for (const bool asked : {false, true}) {
    TracerOptions options = small_options(GetParam());
    options.capture_unknown = asked;
    EBPF_OPEN_TRACING(tracing, options);
    const auto events = tracing->trace([&] {
      Pair pair = connect_tcp(Family::kInet);
      send_all(pair.client, "none of the seven");
      receive(pair.server);
      send_all(pair.client, kRequest);
      return 0;
    });
    ASSERT_EQ(events.size(), asked ? 3u : 1u);
    if (!asked) continue;
    EXPECT_EQ(events[0].data.l7_protocal_hint, SOCK_DATA_UNKNOWN);
    EXPECT_EQ(events[0].payload, "none of the seven");
    EXPECT_EQ(events[2].data.l7_protocal_hint, SOCK_DATA_HTTP1);
    EXPECT_EQ(events[2].data.cap_seq, 1u);
  }
}

TEST(KernelTracer, RefusesABufferThatHoldsNoEvent) {
  TracerOptions options = small_options({"Raw", AttachMode::kRaw, false});
  options.cap_bytes = EBPF_CAP_BYTES_MAX;
  options.perf_pages = 4;
  const auto refused = KernelTracer::open(options, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EINVAL);
  EXPECT_NE(refused.error().message.find("it takes 8 pages at least"), std::string::npos)
      << refused.error().message;
}

TEST_P(BothObjects, CapturesNothingWhileStopped) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const pid_t pid = fork();
  if (pid == 0) {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    _exit(0);
  }
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_TRUE(tracing->take(0).empty());
  EXPECT_EQ(tracing->tracer().counters()[COUNTER_EMITTED], 0u);
}

TEST_P(BothObjects, NeverTracesItsOwnProcess) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  ASSERT_TRUE(tracing->tracer().start());
  Pair pair = connect_tcp(Family::kInet);
  send_all(pair.client, kRequest);
  EXPECT_EQ(receive(pair.server), kRequest);
  pair.close();
  ASSERT_TRUE(tracing->tracer().stop());
  EXPECT_TRUE(tracing->take(getpid()).empty());
}

TEST_P(BothObjects, StartsAndStopsAgain) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  for (int round = 0; round < 3; round++) {
    const auto events = tracing->trace([&] {
      Pair pair = connect_tcp(Family::kInet);
      send_all(pair.client, kRequest);
      return 0;
    });
    EXPECT_EQ(events.size(), 1u);
  }
}

}  // namespace
}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
#include "bpf/infer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

namespace {

struct Verdict {
  uint16_t protocol;
  uint8_t msg_type;
  bool operator==(const Verdict&) const = default;
};
void PrintTo(const Verdict& verdict, std::ostream* out) {
  *out << "protocol " << verdict.protocol << ", type " << int{verdict.msg_type};
}

constexpr Verdict kNone = {0, 0};
constexpr Verdict kHttpRequest = {SOCK_DATA_HTTP1, MSG_REQUEST};
constexpr Verdict kHttpResponse = {SOCK_DATA_HTTP1, MSG_RESPONSE};
constexpr Verdict kDnsRequest = {SOCK_DATA_DNS, MSG_REQUEST};
constexpr Verdict kDnsResponse = {SOCK_DATA_DNS, MSG_RESPONSE};

// What a call that moved `bytes` is, seen as the programs see it.
uint64_t infer_raw(const std::string& bytes, bool is_tcp, uint16_t sticky = 0, uint64_t total = 0) {
  infer_window window = {};
  std::memcpy(window.bytes, bytes.data(), std::min(bytes.size(), sizeof(window.bytes)));
  const size_t count = std::min<size_t>(bytes.size(), INFER_WINDOW_BYTES);
  const infer_input input = {&window, count,        total ? total : bytes.size(),
                             is_tcp,  SOCK_DIR_RCV, INFER_ALL_PROTOCOLS};
  infer_state state = {};
  state.protocol = sticky;
  return infer(&input, &state);
}

Verdict tcp(const std::string& bytes, uint16_t sticky = 0) {
  const uint64_t result = infer_raw(bytes, true, sticky);
  return {INFER_PROTOCOL(result), INFER_MSG_TYPE(result)};
}

Verdict udp(const std::string& bytes, uint64_t total = 0) {
  const uint64_t result = infer_raw(bytes, false, 0, total);
  return {INFER_PROTOCOL(result), INFER_MSG_TYPE(result)};
}

// ---- HTTP/1 ----

TEST(InferHttp1, KnowsAllNineMethods) {
  for (const char* method : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"}) {
    EXPECT_EQ(tcp(std::string(method) + " /index.html HTTP/1.1\r\n"), kHttpRequest) << method;
    EXPECT_EQ(tcp(std::string(method) + " http://host/ HTTP/1.1\r\n"), kHttpRequest) << method;
    EXPECT_EQ(tcp(std::string(method) + "/ HTTP/1.1\r\n"), kNone) << method;
    EXPECT_EQ(tcp(std::string(method) + " "), kNone) << method;
  }
  EXPECT_EQ(tcp("OPTIONS * HTTP/1.1\r\n"), kHttpRequest);
  EXPECT_EQ(tcp("CONNECT host.example:443 HTTP/1.1\r\n"), kHttpRequest);
  EXPECT_EQ(tcp("CONNECT [::1]:443 HTTP/1.1\r\n"), kHttpRequest);
}

TEST(InferHttp1, KnowsStatusLines) {
  EXPECT_EQ(tcp("HTTP/1.1 200 OK\r\n"), kHttpResponse);
  EXPECT_EQ(tcp("HTTP/1.0 404 Not Found\r\n"), kHttpResponse);
  EXPECT_EQ(tcp("HTTP/1.1 204\r\n"), kHttpResponse);
  EXPECT_EQ(tcp("HTTP/1.1 200"), kHttpResponse);
}

TEST(InferHttp1, RefusesWhatOnlyStartsLikeIt) {
  for (const char* text : {"get / HTTP/1.1", "GETTER /", "GET key\r\n", "HTTP/1.1 20", "HTTP/2 200",
                           "HTTP/1.1 2000 X", "HTTP/1.2 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 2x0",
                           "GET hello\r\n", "OPTIONS rtsp://host/ RTSP/1.0\r\n", "G", ""}) {
    EXPECT_EQ(tcp(text), kNone) << text;
  }
}

TEST(InferHttp1, IsNotLookedForInDatagrams) { EXPECT_EQ(udp("GET / HTTP/1.1\r\n\r\n"), kNone); }

TEST(InferHttp1, StaysSilentOnTheRestOfABody) {
  EXPECT_EQ(tcp("just some body", SOCK_DATA_HTTP1), kNone);
  EXPECT_EQ(tcp("HTTP/1.1 200 OK\r\n", SOCK_DATA_HTTP1), kHttpResponse);
}

// ---- DNS ----

std::string header(uint16_t flags, uint16_t questions = 1, uint16_t answers = 0,
                   uint16_t authority = 0, uint16_t additional = 0) {
  std::string bytes = "\x12\x34";
  for (const uint16_t word : {flags, questions, answers, authority, additional}) {
    bytes += static_cast<char>(word >> 8);
    bytes += static_cast<char>(word);
  }
  return bytes;
}

std::string question(const std::string& name, uint16_t type = 1, uint16_t dns_class = 1) {
  std::string bytes;
  for (size_t at = 0; at < name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    bytes += static_cast<char>(dot - at);
    bytes += name.substr(at, dot - at);
    at = dot + 1;
  }
  bytes += '\0';
  for (const uint16_t word : {type, dns_class}) {
    bytes += static_cast<char>(word >> 8);
    bytes += static_cast<char>(word);
  }
  return bytes;
}

std::string over_tcp(const std::string& message) {
  return std::string{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())} +
         message;
}

const std::string kQuery = header(0x0100) + question("www.example.org");
const std::string kAnswer = header(0x8180, 1, 1) + question("www.example.org") +
                            std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", 16);

TEST(InferDns, KnowsQueriesAndAnswers) {
  EXPECT_EQ(udp(kQuery), kDnsRequest);
  EXPECT_EQ(udp(kAnswer), kDnsResponse);
  EXPECT_EQ(udp(header(0x0100, 1, 0, 0, 1) + question("example.org", 28) + "\0\0\x29......."),
            kDnsRequest);
  EXPECT_EQ(udp(header(0x0000) + question("")), kDnsRequest);
  EXPECT_EQ(udp(header(0x8183) + question("nosuch.example")), kDnsResponse);
  EXPECT_EQ(udp(header(0x0000) + question("host.local", 255, 0x8001)), kDnsRequest);
}

TEST(InferDns, KnowsLongNamesThatLeaveTheWindow) {
  const std::string reverse =
      "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
  EXPECT_EQ(udp(header(0x0100) + question(reverse, 12)), kDnsRequest);
  const std::string labels = std::string(63, 'a') + "." + std::string(63, 'b');
  EXPECT_EQ(udp(header(0x0100) + question(labels)), kDnsRequest);
}

TEST(InferDns, KnowsNamesThatEndAtEveryPlaceOfTheWindow) {
  for (size_t length = 1; length <= 63; length++) {
    const std::string bytes = header(0x0100) + question(std::string(length, 'x'));
    EXPECT_EQ(udp(bytes), kDnsRequest) << length;
    EXPECT_EQ(tcp(over_tcp(bytes)), kDnsRequest) << length;
    // One byte short of its question, it is none.
    EXPECT_EQ(udp(bytes.substr(0, bytes.size() - 1)), kNone) << length;
  }
}

TEST(InferDns, RefusesHeadersThatCannotBe) {
  const std::string asked = question("example.org");
  EXPECT_EQ(udp(header(0x0140) + asked), kNone);                // Z
  EXPECT_EQ(udp(header(0x3000) + asked), kNone);                // opcode 6
  EXPECT_EQ(udp(header(0x1800) + asked), kNone);                // opcode 3
  EXPECT_EQ(udp(header(0x0100, 0) + asked), kNone);             // no question
  EXPECT_EQ(udp(header(0x0100, 11) + asked), kNone);            // too many
  EXPECT_EQ(udp(header(0x0101) + asked), kNone);                // an error in a query
  EXPECT_EQ(udp(header(0x0100, 1, 7) + asked), kNone);          // answers in a query
  EXPECT_EQ(udp(header(0x818c, 1, 1) + asked), kNone);          // rcode 12
  EXPECT_EQ(udp(header(0x8180, 1, 0xffff) + asked), kNone);     // answers beyond reason
  EXPECT_EQ(udp(header(0x0100) + question("a", 0)), kNone);     // type 0
  EXPECT_EQ(udp(header(0x0100) + question("a", 1, 9)), kNone);  // class 9
  EXPECT_EQ(udp(header(0x0100) + "\xc0\x0c\0\1\0\1"), kNone);
  EXPECT_EQ(udp(header(0x0100) + std::string("\x40") + std::string(70, 'a')), kNone);
  EXPECT_EQ(udp(header(0x0100)), kNone);
  EXPECT_EQ(udp(""), kNone);
}

TEST(InferDns, NeedsItsLengthOverTcp) {
  EXPECT_EQ(tcp(over_tcp(kQuery)), kDnsRequest);
  EXPECT_EQ(tcp(over_tcp(kAnswer)), kDnsResponse);
  EXPECT_EQ(tcp(over_tcp(kQuery) + over_tcp(kQuery)), kDnsRequest);
  EXPECT_EQ(tcp(kQuery), kNone);
  EXPECT_EQ(udp(over_tcp(kQuery)), kNone);
}

TEST(InferDns, TakesABodyAloneOnceTheSocketIsKnown) {
  EXPECT_EQ(tcp(kAnswer, SOCK_DATA_DNS), kDnsResponse);
  EXPECT_EQ(tcp(over_tcp(kAnswer), SOCK_DATA_DNS), kDnsResponse);
  EXPECT_EQ(tcp(std::string("\0\x20", 2), SOCK_DATA_DNS), kNone);
}

TEST(InferDns, RefusesMessagesThatEndInTheirName) {
  const std::string bytes = header(0x0100) + std::string("\x07") + "example";
  EXPECT_EQ(udp(bytes), kNone);
  // As the start of a longer one that was not captured whole, it is fine.
  EXPECT_EQ(udp(bytes, 200), kDnsRequest);
}

// ---- All ----

TEST(Infer, KeepsToTheProtocolOfTheSocket) {
  EXPECT_EQ(tcp("GET / HTTP/1.1\r\n", SOCK_DATA_DNS), kNone);
  EXPECT_EQ(tcp(over_tcp(kQuery), SOCK_DATA_HTTP1), kNone);
  EXPECT_EQ(tcp("GET / HTTP/1.1\r\n", SOCK_DATA_REDIS), kNone);
}

TEST(Infer, NeverMistakesNoiseForAProtocol) {
  std::mt19937_64 random(20250101);
  int mistakes = 0;
  for (int round = 0; round < 400000; round++) {
    infer_window window;
    for (uint64_t& word : window.words) word = random();
    const infer_input input = {&window,
                               INFER_WINDOW_BYTES,
                               INFER_WINDOW_BYTES + random() % 2000,
                               static_cast<uint64_t>(round % 2),
                               random() % 2,
                               INFER_ALL_PROTOCOLS};
    infer_state state = {};
    if (infer(&input, &state)) mistakes++;
  }
  EXPECT_EQ(mistakes, 0);
}

// Bytes behind the count are zero in the window, but must not matter anyhow for bytes that
// were not captured: the answer for a prefix never names another protocol.
TEST(Infer, SaysNothingElseOfAPrefix) {
  for (const std::string& whole : {std::string("POST /a HTTP/1.1\r\nHost: x\r\n"),
                                   std::string("HTTP/1.1 301 Moved\r\n"), over_tcp(kQuery)}) {
    const Verdict full = tcp(whole);
    for (size_t length = 0; length <= whole.size(); length++) {
      const Verdict part = tcp(whole.substr(0, length));
      EXPECT_TRUE(part == kNone || part == full) << length;
    }
  }
}

}  // namespace

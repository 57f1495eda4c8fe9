// SPDX-License-Identifier: Apache-2.0
// Whole conversations, byte by byte from the specifications, as both of their ends see them.
#include "tests/unit/infer_conversations.h"

namespace {

using namespace std::string_literals;

// ---- HTTP/2: RFC 9113, section 3.4 (preface), 4.1 (frames), 6 (types); RFC 7541, appendix A ----

std::string frame(int type, int flags, uint32_t stream, const std::string& body) {
  return be(body.size(), 3) + be(type, 1) + be(flags, 1) + be(stream, 4) + body;
}
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const std::string kGet =
    frame(1, 5, 1, "\x82\x86\x84\x41\x8a\x08\x9d\x5c\x0b\x81\x70\xdc\x78\x0f\x03"s);
const std::string kOk = frame(1, 4, 1,
                              "\x88\x5f\x0a"
                              "text/plain"s);
const std::string kData = frame(0, 1, 1, "hello");

TEST(InferHttp2, KnowsAConnectionFromItsStart) {
  expect({ask(kPreface + frame(4, 0, 0, "")), tell(frame(4, 0, 0, le(0, 6))),
          ask(frame(4, 1, 0, "") + kGet), tell(kOk + kData)},
         {certain(21, 1), certain(21, 0), certain(21, 1), certain(21, 2)});
}

TEST(InferHttp2, KnowsAConnectionThatIsOlder) {
  expect({ask(kGet), tell(kOk + kData)}, {likely(21, 1), certain(21, 2)});
  expect({tell(kOk + kData), ask(kGet)}, {certain(21, 2), certain(21, 1)});
  // A ping and its answer.
  expect({ask(frame(6, 0, 0, "12345678")), tell(frame(6, 1, 0, "12345678"))},
         {likely(21, 0), certain(21, 0)});
  // gRPC: a message of 5 bytes, and trailers.
  expect({ask(kGet), ask(frame(0, 1, 1, "\0\0\0\0\5hello"s))}, {likely(21, 1), certain(21, 0)});
}

TEST(InferHttp2, LooksBehindPaddingPrioritiesAndDynamicFields) {
  const std::string weight = "\0\0\0\0\x10"s;
  expect({ask(frame(1, 0x25, 3, weight + "\x82\x86\x84"))}, {likely(21, 1)});
  expect({ask(frame(1, 0x2d, 3, "\2"s + weight + "\x82\x86\x84\0\0"s))}, {likely(21, 1)});
  expect({ask(frame(1, 5, 3, "\x3f\xe1\x1f\x83\x86"))}, {likely(21, 1)});
  expect({ask(frame(1, 5, 3, "\xc1\x83\x86\xc0"))}, {likely(21, 1)});
  expect({tell(frame(1, 4, 3,
                     "\x40\x07:status\x03"
                     "200"))},
         {likely(21, 2)});
  expect({tell(frame(1, 4, 3,
                     "\x48\x03"
                     "302"))},
         {likely(21, 2)});
}

TEST(InferHttp2, TakesOverAnUpgradedConnection) {
  expect({ask("GET / HTTP/1.1\r\n\r\n"), tell("HTTP/1.1 101 Switching\r\n\r\n"), ask(kPreface)},
         {certain(20, 1), certain(20, 2), certain(21, 1)});
}

TEST(InferHttp2, KnowsFieldsThatDoNotFitIntoACall) {
  const std::string long_get = frame(1, 4, 3, "\x82\x86\x84" + std::string(3000, 'x'));
  expect({ask(long_get.substr(0, 1400)), ask(long_get.substr(1400)), tell(kOk + kData)},
         {likely(21, 1), likely(21, 0), certain(21, 2)});
  EXPECT_TRUE(run({ask(long_get.substr(0, 40))}, true).empty());
}

TEST(InferHttp2, RefusesFramesThatCannotBe) {
  for (const std::string& bytes :
       {frame(5, 4, 1, ""), frame(1, 4, 1, "") + frame(1, 4, 3, ""), frame(1, 5, 0, "\x82\x86"),
        frame(1, 0x80, 1, "\x82\x86"), frame(11, 0, 1, "\x82\x86"), frame(4, 0, 1, ""),
        frame(4, 0, 0, "12345"), frame(6, 0, 0, "1234567"), frame(8, 0, 0, "12345"),
        frame(0, 1, 1, "hello"), frame(1, 5, 0x80000001, "\x82\x86"),
        frame(1, 5, 1, "\x82\x86") + "?"}) {
    EXPECT_TRUE(run({ask(bytes)}, true).empty()) << testing::PrintToString(bytes);
  }
}

// ---- Dubbo: the 16 bytes of its documentation ("Dubbo 2 protocol") ----

std::string dubbo(int flags, int status, const std::string& body) {
  return "\xda\xbb" + be(flags, 1) + be(status, 1) + be(7, 8) + be(body.size(), 4) + body;
}

TEST(InferDubbo, KnowsRequestsResponsesAndHeartbeats) {
  for (const int serialization : {2, 3, 6, 8, 9, 12, 21, 23}) {
    expect({ask(dubbo(0xc0 | serialization, 0, "2.0.2...")), tell(dubbo(serialization, 20, "..."))},
           {certain(40, 1), certain(40, 2)});
  }
  expect({ask(dubbo(0xe2, 0, "N")), tell(dubbo(0x22, 20, "N"))}, {certain(40, 1), certain(40, 2)});
  for (const int status : {30, 31, 40, 50, 60, 70, 80, 90, 100}) {
    expect({tell(dubbo(2, status, "error"))}, {certain(40, 2)});
  }
  expect({ask(dubbo(0xc2, 0, "a") + dubbo(0xc2, 0, "b"))}, {certain(40, 1)});
  expect({ask(dubbo(0xc2, 0, std::string(5000, 'x')).substr(0, 600))}, {certain(40, 1)});
}

TEST(InferDubbo, RefusesWhatOnlyStartsLikeIt) {
  for (const std::string& bytes :
       {dubbo(0xc0, 0, "x"), dubbo(0xc2, 20, "x"), dubbo(2, 21, "x"), dubbo(2, 0, "x"),
        dubbo(0xc2, 0, ""), dubbo(0xc2, 0, "x") + "yz", dubbo(0xc2, 0, "x").substr(0, 15),
        "\xda\xbc" + dubbo(0xc2, 0, "x").substr(2)}) {
    EXPECT_TRUE(run({ask(bytes)}, true).empty()) << testing::PrintToString(bytes);
  }
}

// ---- MySQL: "Client/Server Protocol" of its documentation ----

std::string packet(int sequence, const std::string& body) {
  return le(body.size(), 3) + be(sequence, 1) + body;
}
std::string compressed(int sequence, const std::string& body, uint32_t original = 0) {
  return le(body.size(), 3) + be(sequence, 1) + le(original, 3) + body;
}
const std::string kGreeting = packet(0,
                                     "\x0a"
                                     "8.0.21\0"s +
                                         std::string(60, 'x'));
const std::string kLogin =
    packet(1, le(0x01bfa28f, 4) + le(1 << 24, 4) + "\x21" + std::string(23, '\0') + "root\0"s);
const std::string kMysqlOk = packet(1, "\0\0\0\2\0\0\0"s);
const std::string kQuery = packet(0, "\x03SELECT 1");
const std::string kResult = packet(1, "\1") + packet(2, "\3def" + std::string(20, '\0')) +
                            packet(3, "\xfe\0\0\2\0"s) +
                            packet(4,
                                   "\1"
                                   "1");

TEST(InferMysql, KnowsAConnectionFromItsGreeting) {
  expect({tell(kGreeting), ask(kLogin), tell(packet(2, "\0\0\0\2\0\0\0"s)), ask(kQuery),
          tell(kResult), ask(packet(0, "\x0e")), tell(kMysqlOk), ask(packet(0, "\x01"))},
         {certain(60, 2), certain(60, 1), certain(60, 2), certain(60, 1), certain(60, 2),
          certain(60, 1), certain(60, 2), certain(60, 1)});
}

TEST(InferMysql, IsCertainOfAnOlderConnectionAfterAPair) {
  expect({ask(kQuery), tell(kResult)}, {likely(60, 1), certain(60, 2)});
  expect({ask(kQuery), tell(packet(1, "\xff\x28\x04#42000syntax"))},
         {likely(60, 1), certain(60, 2)});
  expect({tell(kResult), ask(kQuery)}, {likely(60, 2), certain(60, 1)});
  expect({ask(packet(0, "\x16SELECT ?")), tell(packet(1, "\0\1\0\0\0\1\0\1\0\0\0\0"s))},
         {likely(60, 1), certain(60, 2)});
  expect({ask(packet(0, "\x17\1\0\0\0\0\1\0\0\0"s)), tell(kResult)},
         {likely(60, 1), certain(60, 2)});
  expect({ask(packet(0, "\x19\1\0\0\0"s)), ask(packet(0, "\x0e")), tell(kMysqlOk)},
         {likely(60, 1), likely(60, 1), certain(60, 2)});
}

TEST(InferMysql, KnowsTextsWithAttributesAndRefusedClients) {
  expect({ask(packet(0, "\x03\0\1SELECT 1"s)), tell(kResult)}, {likely(60, 1), certain(60, 2)});
  expect({ask(packet(0, "\x03\0\1DO 1"s)), tell(kMysqlOk)}, {likely(60, 1), certain(60, 2)});
  expect({tell(packet(0, "\xff\x10\x04Too many connections"))}, {likely(60, 2)});
  expect({tell(packet(0, "\xff\x6a\x04Host 'a' is not allowed"))}, {likely(60, 2)});
  expect({tell(packet(1, "\5\1") + packet(2, "\3def" + std::string(20, '\0')))}, {likely(60, 2)});
}

TEST(InferMysql, KnowsTheCompressedProtocol) {
  const std::string zlib = "\x78\x9c" + std::string(50, 'z');
  expect({ask(compressed(0, kQuery)), tell(compressed(1, zlib, 200))},
         {likely(60, 1), certain(60, 2)});
  expect({ask(compressed(0, kQuery)), tell(compressed(1, kMysqlOk))},
         {likely(60, 1), certain(60, 2)});
}

TEST(InferMysql, JoinsAHeaderThatWasReadAlone) {
  const std::vector<Message> split = {tell(kGreeting),
                                      ask(kLogin.substr(0, 4)),
                                      ask(kLogin.substr(4)),
                                      tell(packet(2, "\0\0\0\2\0\0\0"s)),
                                      ask(kQuery.substr(0, 4)),
                                      ask(kQuery.substr(4)),
                                      tell(kResult)};
  EXPECT_EQ(run(split, false), (std::vector<Told>{certain(60, 2), certain(60, 1), certain(60, 2),
                                                  certain(60, 1), certain(60, 2)}));
}

TEST(InferMysql, RefusesWhatDoesNotFit) {
  for (const std::string& bytes :
       {kQuery + "x", packet(1, "\x03SELECT 1"), packet(0, "\x03\1\2\3\4\5\6"),
        packet(0, "\x63SELECT 1"), packet(0, "\x01"), kGreeting + "x",
        packet(0,
               "\x09"
               "8.0.21\0"s +
                   std::string(60, 'x')),
        le(15, 4) + "\x03SELECT 1..."}) {  // the length counts itself: MongoDB
    EXPECT_TRUE(run({ask(bytes)}, true).empty()) << testing::PrintToString(bytes);
  }
}

// ---- Redis: "RESP protocol specification" ----

const std::string kSet = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

TEST(InferRedis, IsCertainWhenBothDirectionsFit) {
  for (const char* reply :
       {"+OK\r\n", "-ERR unknown command\r\n", ":1\r\n", "$5\r\nhello\r\n", "$-1\r\n", "$0\r\n\r\n",
        "*0\r\n", "*-1\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n:1\r\n:2\r\n", "_\r\n",
        "#t\r\n", ",3.14\r\n", "(3492890328409238509324850943850943825024385\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n", "=15\r\ntxt:Some string\r\n", "%1\r\n+first\r\n:1\r\n",
        "~1\r\n+a\r\n", "+OK\r\n+OK\r\n"}) {
    SCOPED_TRACE(reply);
    expect({ask(kSet), tell(reply), ask(kSet), tell(reply)},
           {likely(80, 1), certain(80, 2), certain(80, 1), certain(80, 2)});
  }
  expect({tell("$5\r\nhello\r\n"), ask(kSet)}, {likely(80, 2), certain(80, 1)});
}

TEST(InferRedis, KnowsPipelinesPushesAndInlineCommands) {
  expect({ask(kSet + kSet), tell("+OK\r\n+OK\r\n")}, {likely(80, 1), certain(80, 2)});
  expect({ask("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"),
          tell("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
          tell("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")},
         {likely(80, 1), certain(80, 2), certain(80, 2)});
  expect({tell("+PONG\r\n"), ask("PING\r\n"), tell("+PONG\r\n"), ask(kSet)},
         {likely(80, 2), likely(80, 1), certain(80, 2), certain(80, 1)});
}

TEST(InferRedis, StaysSilentOnTheRestOfAString) {
  const std::string big = "$500000\r\n" + std::string(300, 'x');
  expect({ask(kSet), tell(big), tell(std::string(900, 'y')), ask(kSet)},
         {likely(80, 1), certain(80, 2), certain(80, 0), certain(80, 1)});
}

TEST(InferRedis, RefusesWhatSaysTooLittle) {
  for (const char* bytes :
       {"+OK\r\n", ":1\r\n", "-ERR x\r\n", "PING\r\n", "*1\r\n", "*x\r\n$1\r\na\r\n",
        "*3\n$3\nSET\n", "$5\rhello", "*1000000000\r\n$1\r\na\r\n"}) {
    EXPECT_TRUE(run({ask(bytes)}, true).empty()) << bytes;
  }
}

// ---- Kafka: "Kafka protocol guide", request header versions 1 and 2, response header 0 and 1 ----

std::string kafka(int key, int version, uint32_t id, const std::string& client,
                  const std::string& body) {
  const std::string all =
      be(key, 2) + be(version, 2) + be(id, 4) + be(client.size(), 2) + client + body;
  return be(all.size(), 4) + all;
}
std::string kafka_response(uint32_t id, const std::string& body) {
  return be(body.size() + 4, 4) + be(id, 4) + body;
}

TEST(InferKafka, IsCertainWhenTheCorrelationIdComesBack) {
  for (const int key : {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 36, 60, 68}) {
    const std::string request = kafka(key, 4, 77, "rdkafka", "....");
    expect({ask(request), tell(kafka_response(77, "......")), ask(request)},
           {likely(100, 1), certain(100, 2), certain(100, 1)});
    expect({ask(request), tell(kafka_response(78, "......"))}, {likely(100, 1), likely(100, 0)});
  }
  const std::string login = kafka(17, 1, 0x7ffffffd, "consumer-1", "\0\5PLAIN"s);
  expect({ask(login), tell(kafka_response(0x7ffffffd, "\0\0"s))},
         {likely(100, 1), certain(100, 2)});
}

TEST(InferKafka, JoinsTheLengthOnBothSides) {
  const std::string request = kafka(3, 9, 5, "adminclient-1", "\0\1\0\1\0"s);
  const std::string response = kafka_response(5, "0123456789");
  const std::vector<Message> split = {ask(request.substr(0, 4)), ask(request.substr(4)),
                                      tell(response.substr(0, 4)), tell(response.substr(4)),
                                      ask(request)};
  EXPECT_EQ(run(split, false).front(), likely(100, 1));
  EXPECT_EQ(run({ask(request), tell(response.substr(0, 4)), tell(response.substr(4)), ask(request),
                 tell(response.substr(0, 4)), tell(response.substr(4))},
                true),
            (std::vector<Told>{likely(100, 1), certain(100, 2), certain(100, 1), certain(100, 2)}));
}

TEST(InferKafka, RefusesWhatIsOnlyBehindALength) {
  for (const std::string& bytes :
       {kafka(200, 4, 1, "client", "...."), kafka(3, 40, 1, "client", "...."),
        kafka(3, 4, 0x74657874, "client", "...."), kafka(3, 4, 1, "cl\1ent", "...."),
        kafka(3, 4, 1, "", "...."), kafka(3, 4, 1, "client", "....") + "x",
        // PostgreSQL's start: version 3.0, user, ...
        be(48, 4) + be(196608, 4) + "user\0monitoring\0database\0postgres\0\0......"s.substr(0, 40),
        // ZooKeeper's: protocol version, last id, time-out, session, password.
        be(44, 4) + be(0, 4) + be(0, 8) + be(30000, 4) + be(0, 8) + be(16, 4) +
            std::string(16, '\0')}) {
    EXPECT_TRUE(run({ask(bytes)}, true).empty()) << testing::PrintToString(bytes);
  }
}

TEST(Infer, GivesUpWhatWasOnlyLikely) {
  std::vector<Message> messages = {ask(kSet)};
  for (int i = 0; i < 20; i++) messages.push_back(tell("what is this?"));
  EXPECT_EQ(run(messages, true).size(), 1u + INFER_MISSES_MAX - 1);
}

}  // namespace

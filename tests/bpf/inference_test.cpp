// SPDX-License-Identifier: Apache-2.0
// The programs in the kernel and the same header compiled natively say the same of the same
// bytes: valid messages, mutated, over real connections, as both of their ends see them.
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"
#include "tests/tools/infer/end.h"

namespace ebpf::test {
namespace {

using infer_native::Call;
using infer_native::End;
using infer_native::Record;
using namespace std::string_literals;

constexpr uint32_t kSeed = 20250611;
constexpr size_t kConnections = 400;
constexpr size_t kMessages = 10;  // of each

struct Ports {
  uint16_t of[kConnections][2];  // local: client, server
};

// One call that sends, and the ones that receive what it sent.
struct Step {
  bool from_client;
  std::string bytes;
  size_t first_read;  // 0: all at once
};

const std::vector<std::string>& seeds() {
  static const std::vector<std::string> all = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"s,
      "\0\0\5\1\5\0\0\0\1\x82\x86\x84\x41\x01"s,
      "\0\0\1\1\4\0\0\0\1\x88\0\0\5\0\1\0\0\0\1hello"s,
      "\0\0\x08\6\0\0\0\0\0"
      "12345678"s,
      "\xda\xbb\xc2\0\0\0\0\0\0\0\0\7\0\0\0\5"
      "2.0.2"s,
      "\xda\xbb\2\x14\0\0\0\0\0\0\0\7\0\0\0\2..\xda\xbb"s,
      "\x09\0\0\0\3SELECT 1"s,
      "\1\0\0\1\1\x17\0\0\2\3def\0\0\0\1?\0\x0c?\0\1\0\0\0\x08\x81\0\0\0\0"s,
      "\7\0\0\1\0\0\0\2\0\0\0"s,
      "\x4a\0\0\0\x0a"
      "8.0.21\0"s +
          std::string(67, 'x'),
      "\x10\0\0\0\0\0\0\x0c\0\0\0\3SELECT 1..."s,
      "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
      "$5\r\nhello\r\n",
      "+OK\r\n",
      "%1\r\n+a\r\n:1\r\n",
      "\0\0\0\x19\0\3\0\4\0\0\0\1\0\7rdkafka\0\0\0\0\0\0\0\0"s,
      "\0\0\0\x08\0\0\0\1...."s,
      with_dns_length(dns_query("www.example.org")),
      with_dns_length(dns_answer("www.example.org")),
      dns_query("example.org"),
      dns_answer("example.org"),
      "none of them at all",
      std::string(700, '\0'),
  };
  return all;
}

class Script {
 public:
  explicit Script(size_t connection) : random_(kSeed + connection) { is_tcp = below(8) != 0; }

  bool is_tcp = true;

  Step next() {
    // Mostly one protocol, as connections are, so that pairs and states occur.
    if (favourite_ == seeds().size() || below(4) == 0) favourite_ = below(seeds().size());
    Step step = {below(2) == 0, seeds()[favourite_], 0};
    if (below(3) == 0) step.bytes = seeds()[below(seeds().size())];
    if (below(6) == 0) step.bytes += seeds()[below(seeds().size())];
    while (below(3) == 0) mutate(&step.bytes);
    if (step.bytes.empty()) step.bytes = "x";
    constexpr size_t kHeaders[] = {2, 4, 7, 9, 16};
    if (is_tcp && below(3) == 0) step.first_read = kHeaders[below(5)];
    if (step.first_read >= step.bytes.size()) step.first_read = 0;
    return step;
  }

 private:
  size_t below(size_t limit) { return random_() % limit; }

  void mutate(std::string* bytes) {
    if (bytes->empty()) return;
    const size_t at = below(std::min<size_t>(bytes->size(), 40));
    switch (below(4)) {
      case 0:
        (*bytes)[at] = static_cast<char>(random_());
        break;
      case 1:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes->resize(at + 1);
        break;
      default:
        bytes->append(below(900), 'p');
    }
  }

  std::mt19937 random_;
  size_t favourite_ = seeds().size();
};

int talk(Ports* ports) {
  for (size_t i = 0; i < kConnections; i++) {
    Script script(i);
    Pair pair = script.is_tcp ? connect_tcp(Family::kInet) : connect_udp(Family::kInet);
    ports->of[i][0] = local_address(pair.client).port();
    ports->of[i][1] = local_address(pair.server).port();
    const int one = 1;  // each message leaves at once
    for (const int fd : {pair.client, pair.server}) {
      if (script.is_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    for (size_t n = 0; n < kMessages; n++) {
      const Step step = script.next();
      const int from = step.from_client ? pair.client : pair.server;
      const int to = step.from_client ? pair.server : pair.client;
      send_all(from, step.bytes);
      if (step.first_read) require(receive(to, step.first_read).size() == step.first_read, "head");
      require(receive(to).size() == step.bytes.size() - step.first_read, "rest");
    }
    pair.close();
  }
  return 0;
}

// What the native header says of the same conversation: client and server.
std::vector<Record> expected(size_t connection, bool is_client) {
  Script script(connection);
  End end;
  std::vector<Record> all;
  const auto take = [&](uint64_t direction, const std::string& bytes) {
    const Call call = {direction, script.is_tcp, bytes.size(), bytes};
    for (const Record& record : end.take(call)) all.push_back(record);
  };
  for (size_t n = 0; n < kMessages; n++) {
    const Step step = script.next();
    if (step.from_client == is_client) {
      take(SOCK_DIR_SND, step.bytes);
    } else {
      if (step.first_read) take(SOCK_DIR_RCV, step.bytes.substr(0, step.first_read));
      take(SOCK_DIR_RCV, step.bytes.substr(step.first_read));
    }
  }
  return all;
}

std::string describe(const std::vector<Record>& records) {
  std::string text;
  for (const Record& record : records) {
    text += (record.direction == SOCK_DIR_SND ? " sent " : " received ") +
            std::to_string(record.total) + ": " + std::to_string(record.protocol) + "/" +
            std::to_string(record.type) + (record.is_likely ? "?" : "");
  }
  return text;
}

class Inference : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(Objects, Inference, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_P(Inference, InTheKernelSaysWhatTheHeaderSaysNatively) {
  TracerOptions options = small_options(GetParam());
  options.perf_pages = 2048;
  EBPF_OPEN_TRACING(tracing, options);
  auto& ports = shared<Ports>();
  const auto events = tracing->trace([&] { return talk(&ports); });
  ASSERT_FALSE(events.empty());
  // Ports are used again, sockets are not: a connection is the next socket of its port pair.
  std::map<std::pair<uint16_t, uint16_t>, std::vector<uint64_t>> sockets;
  std::map<uint64_t, std::vector<Record>> records;
  for (const Event& event : events) {
    const SK_BPF_DATA& data = event.data;
    if (records.find(data.socket_id) == records.end()) {
      sockets[{data.tuple.lport, data.tuple.rport}].push_back(data.socket_id);
    }
    records[data.socket_id].push_back({data.direction, data.syscall_len, data.l7_protocal_hint,
                                       data.msg_type, data.need_reconfirm});
  }
  size_t compared = 0;
  std::map<int, size_t> seen;
  for (size_t i = 0; i < kConnections; i++) {
    for (const int end : {0, 1}) {
      const std::vector<Record> wanted = expected(i, end == 0);
      std::vector<Record> got;
      auto& same = sockets[{ports.of[i][end], ports.of[i][1 - end]}];
      if (!wanted.empty() && !same.empty()) {
        got = records[same.front()];
        same.erase(same.begin());
      }
      EXPECT_EQ(describe(got), describe(wanted))
          << "seed " << kSeed << ", connection " << i << (end ? ", server" : ", client");
      for (const Record& record : wanted) seen[record.protocol]++;
      compared += wanted.size();
    }
  }
  EXPECT_GT(compared, kConnections * kMessages / 2);
  for (const int protocol : {20, 21, 40, 60, 80, 100, 120})
    EXPECT_GT(seen[protocol], 50u) << protocol;
}

}  // namespace
}  // namespace ebpf::test

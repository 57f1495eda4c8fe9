// SPDX-License-Identifier: Apache-2.0
// What ebpf-tail prints, and how it ends.
#include <arpa/inet.h>
#include <fcntl.h>

#include <nlohmann/json.hpp>
#include <random>

#include <sstream>

#include "consumer/view/format.h"
#include "tests/unit/consumer_producer.h"

namespace ebpf {
namespace {

// ---- the formats ------------------------------------------------------------------------

// A record with its payload, to be changed before it is printed.
class Sample {
 public:
  explicit Sample(const std::string& payload = "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n")
      : bytes_((sizeof(ebpf_record) + payload.size() + 7) / 8) {
    payload.copy(reinterpret_cast<char*>(&record() + 1), payload.size());
    record().kind = EBPF_RECORD_DATA;
    SK_BPF_DATA& d = data();
    d.process_id = 812;
    d.thread_id = 813;
    std::memcpy(d.process_name, "curl", 5);
    inet_pton(AF_INET, "10.0.0.9", d.tuple.raddr);
    inet_pton(AF_INET, "127.0.0.1", d.tuple.laddr);
    d.tuple.addr_len = 4;
    d.tuple.protocol = 6;
    d.tuple.rport = 8080;
    d.tuple.lport = 40312;
    d.socket_id = 71;
    d.l7_protocal_hint = SOCK_DATA_HTTP1;
    d.msg_type = MSG_REQUEST;
    d.tcp_seq = 4000000000;
    d.syscall_trace_id_call = 9;
    d.timestamp = 1700000000012345;
    d.direction = SOCK_DIR_SND;
    d.syscall_len = 1000;
    d.cap_len = static_cast<uint32_t>(payload.size());
    d.cap_seq = 3;
  }
  ebpf_record& record() { return *reinterpret_cast<ebpf_record*>(bytes_.data()); }
  SK_BPF_DATA& data() { return record().data; }

  std::string text() {
    std::string out;
    append_text_record(out, record());
    return out;
  }
  nlohmann::json json() {
    std::string out;
    append_json_record(out, record());
    EXPECT_EQ(out.back(), '\n');
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
    for (const char c : out.substr(0, out.size() - 1)) EXPECT_TRUE(c >= 0x20 && c <= 0x7e);
    return nlohmann::json::parse(out);
  }

 private:
  std::vector<uint64_t> bytes_;
};

class TailFormat : public testing::Test {
 protected:
  TailFormat() {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

TEST_F(TailFormat, PrintsARecordOnOneLine) {
  EXPECT_EQ(Sample().text(),
            "22:13:20.012345 curl[812/813] 127.0.0.1:40312 -> 10.0.0.9:8080 send HTTP request "
            "sock=71 seq=3 trace=9 len=37/1000 GET /index.html HTTP/1.1\n");
}

TEST_F(TailFormat, PrintsTheOtherSideTheSameWay) {
  Sample sample("HTTP/1.1 200 OK\nrest");
  SK_BPF_DATA& d = sample.data();
  d.direction = SOCK_DIR_RCV;
  d.msg_type = MSG_RESPONSE;
  d.need_reconfirm = true;
  d.tuple.addr_len = 6;
  inet_pton(AF_INET6, "fe80::1", d.tuple.laddr);
  inet_pton(AF_INET6, "2001:db8::8", d.tuple.raddr);
  EXPECT_EQ(sample.text(),
            "22:13:20.012345 curl[812/813] [fe80::1]:40312 <- [2001:db8::8]:8080 recv HTTP? "
            "response sock=71 seq=3 trace=9 len=20/1000 HTTP/1.1 200 OK\n");
}

TEST_F(TailFormat, NamesWhatItDoesNotKnow) {
  Sample sample("");
  SK_BPF_DATA& d = sample.data();
  d.l7_protocal_hint = 999;
  d.msg_type = 77;
  d.direction = 5;
  d.tuple.addr_len = 9;
  EXPECT_EQ(sample.text(),
            "22:13:20.012345 curl[812/813] ?:40312 <- ?:8080 recv Unknown unknown "
            "sock=71 seq=3 trace=9 len=0/1000\n");
}

TEST_F(TailFormat, EscapesTheProcessName) {
  Sample sample;
  std::memcpy(sample.data().process_name, "\033[31m a\\b\n\xff]xxxx", EBPF_COMM_BYTES);
  EXPECT_NE(sample.text().find(" \\x1b[31m\\x20a\\\\b\\n\\xff]xxxx[812/813] "), std::string::npos)
      << sample.text();
}

TEST_F(TailFormat, CutsTheLineAtEightyColumnsAndNeverInsideAnEscape) {
  const auto tail_of = [](const std::string& payload) {
    const std::string text = Sample(payload).text();
    const size_t at = text.find("/1000");
    return text.substr(at + 5, text.size() - at - 6);
  };
  EXPECT_EQ(tail_of(std::string(80, 'a')), " " + std::string(80, 'a'));
  EXPECT_EQ(tail_of(std::string(81, 'a')), " " + std::string(80, 'a') + "...");
  EXPECT_EQ(tail_of(std::string(77, 'a') + '\x01' + 'b'), " " + std::string(77, 'a') + "...");
  EXPECT_EQ(tail_of(std::string(76, 'a') + '\x01'), " " + std::string(76, 'a') + "\\x01");
  EXPECT_EQ(tail_of("\nrest"), "");
  EXPECT_EQ(tail_of("\r\nrest"), "");
  EXPECT_EQ(tail_of("a\rb\r\nrest"), " a\\rb");
  EXPECT_EQ(tail_of("a\r"), " a\\r");
}

TEST_F(TailFormat, LetsNothingRawThrough) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    std::string payload(random() % 200, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    Sample sample(payload);
    for (uint8_t& c : sample.data().process_name) c = static_cast<uint8_t>(random());
    const std::string text = sample.text();
    ASSERT_EQ(text.find('\n'), text.size() - 1);
    for (const char c : text.substr(0, text.size() - 1)) ASSERT_TRUE(c >= 0x20 && c <= 0x7e);
    // And JSON brings every byte back.
    const std::string told = sample.json()["cap_data"];
    std::string bytes;
    for (size_t i = 0; i < told.size(); ++i) {
      const auto c = static_cast<uint8_t>(told[i]);
      bytes += c < 0x80 ? told[i] : static_cast<char>((c & 3) << 6 | (told[++i] & 0x3f));
    }
    ASSERT_EQ(bytes, payload);
  }
}

TEST_F(TailFormat, PutsEveryFieldIntoJson) {
  const nlohmann::json expected = {
      {"process_id", 812},
      {"thread_id", 813},
      {"process_name", "curl"},
      {"raddr", "10.0.0.9"},
      {"laddr", "127.0.0.1"},
      {"rport", 8080},
      {"lport", 40312},
      {"addr_len", 4},
      {"protocol", 6},
      {"socket_id", 71},
      {"l7_protocal_hint", 20},
      {"l7_protocol", "HTTP"},
      {"msg_type", "request"},
      {"need_reconfirm", false},
      {"tcp_seq", 4000000000},
      {"syscall_trace_id_call", 9},
      {"timestamp", 1700000000012345},
      {"direction", "send"},
      {"syscall_len", 1000},
      {"cap_len", 37},
      {"cap_seq", 3},
      {"cap_data", "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n"},
  };
  EXPECT_EQ(Sample().json(), expected);
}

TEST_F(TailFormat, TellsGapsInBothFormats) {
  struct Case {
    uint32_t cause;
    uint64_t count;
    const char* text;
  };
  const Case cases[] = {
      {EBPF_GAP_LAPPED, 12, "-- gap: 12 records lost (lapped)\n"},
      {EBPF_GAP_PERF_FULL, 1, "-- gap: 1 record lost (perf_full)\n"},
      {EBPF_GAP_NO_ROOM, 2, "-- gap: 2 records lost (no_room)\n"},
      {EBPF_GAP_CORRUPT, 0, "-- gap: records lost, number not known (corrupt)\n"},
      {EBPF_GAP_RESTART, 0, "-- gap: the producer is gone, records may be lost (restart)\n"},
      {99, 3, "-- gap: 3 records lost (unknown)\n"},
  };
  for (const Case& one : cases) {
    ebpf_gap gap = make_gap(one.cause, one.count, 17);
    gap.timestamp_us = 55;
    std::string text;
    append_text_gap(text, gap);
    EXPECT_EQ(text, one.text);
    std::string json;
    append_json_gap(json, gap, 2);
    const nlohmann::json expected = {
        {"gap", true}, {"count", one.count}, {"cause", gap_cause_name(one.cause)},
        {"lane", 2},   {"seq", 17},          {"timestamp", 55}};
    EXPECT_EQ(nlohmann::json::parse(json), expected);
  }
}

// ---- the program ------------------------------------------------------------------------

// ebpf-tail with its output in pipes.
class Tail {
 public:
  explicit Tail(std::vector<std::string> arguments, int stdout_fd = -1) {
    int out_pipe[2] = {-1, -1};
    int err_pipe[2] = {-1, -1};
    EXPECT_EQ(pipe2(out_pipe, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err_pipe, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(stdout_fd < 0 ? out_pipe[1] : stdout_fd, STDOUT_FILENO);
      dup2(err_pipe[1], STDERR_FILENO);
      std::vector<char*> argv = {const_cast<char*>(EBPF_TAIL_PATH)};
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(EBPF_TAIL_PATH, argv.data());
      _exit(127);
    }
    ::close(out_pipe[1]);
    ::close(err_pipe[1]);
    out_ = UniqueFd(out_pipe[0]);
    err_ = UniqueFd(err_pipe[0]);
  }
  ~Tail() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Tail(const Tail&) = delete;
  Tail& operator=(const Tail&) = delete;

  void signal(int number) { kill(pid_, number); }
  void close_output() { out_.reset(); }

  // The exit status; what it printed until then is in out and err.
  int wait() {
    out = read_all_of(out_.get());
    err = read_all_of(err_.get());
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  // So many lines, as they come.
  std::string lines(int count) {
    std::string text;
    char c;
    while (count > 0 && ::read(out_.get(), &c, 1) == 1) {
      text += c;
      if (c == '\n') --count;
    }
    return text;
  }

  std::string out;
  std::string err;

 private:
  static std::string read_all_of(int fd) {
    std::string text;
    char part[4096];
    ssize_t n;
    while ((n = ::read(fd, part, sizeof part)) > 0) text.append(part, static_cast<size_t>(n));
    return text;
  }

  pid_t pid_ = -1;
  UniqueFd out_;
  UniqueFd err_;
};

size_t count_lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

class TailProgram : public testing::Test {
 protected:
  TempFolder folder_;
  const std::string path_ = folder_ / "producer.sock";
};

TEST_F(TailProgram, EndsAfterSoManyRecords) {
  TestProducer producer(path_, small_options(), 40);
  Tail tail({"--socket", path_, "--from", "oldest", "-o", "json", "--count", "25"});
  EXPECT_EQ(tail.wait(), 0) << tail.err;
  EXPECT_EQ(count_lines(tail.out), 25u);
  EXPECT_EQ(tail.err, "");
  const auto first = nlohmann::json::parse(tail.out.substr(0, tail.out.find('\n')));
  EXPECT_EQ(first["cap_seq"], 0);
}

TEST_F(TailProgram, SumsUpWhenItIsStopped) {
  for (const int number : {SIGINT, SIGTERM}) {
    TestProducer producer(path_, small_options(), 10);
    Tail tail({"--socket", path_, "--from", "oldest"});
    EXPECT_EQ(count_lines(tail.lines(10)), 10u);
    tail.signal(number);
    EXPECT_EQ(tail.wait(), 0);
    EXPECT_EQ(tail.err,
              "ebpf-tail: 10 published, 10 delivered, 0 filtered, 0 lost, 0 unread, 0 gaps, 0 lost "
              "upstream, "
              "0 re-attached\n");
  }
}

TEST_F(TailProgram, PrintsOnlyWhatTheFilterLetsThrough) {
  TestProducer producer(path_, small_options(), 56);
  const std::pair<std::vector<std::string>, bool (*)(const SK_BPF_DATA&)> cases[] = {
      {{"--proto", "http,dns"},
       [](const SK_BPF_DATA& d) {
         return d.l7_protocal_hint == SOCK_DATA_HTTP1 || d.l7_protocal_hint == SOCK_DATA_DNS;
       }},
      {{"--pid", "1001"}, [](const SK_BPF_DATA& d) { return d.process_id == 1001; }},
      {{"--port", "81,50003"},
       [](const SK_BPF_DATA& d) { return d.tuple.rport == 81 || d.tuple.lport == 50003; }},
      {{"--direction", "rcv", "--msg-type", "response"},
       [](const SK_BPF_DATA& d) {
         return d.direction == SOCK_DIR_RCV && d.msg_type == MSG_RESPONSE;
       }},
  };
  for (const auto& [filter, match] : cases) {
    std::vector<uint64_t> expected;
    for (uint64_t seq = 0; seq < 56; ++seq) {
      SK_BPF_DATA data{};
      set_fields(data, seq);
      if (match(data)) expected.push_back(seq);
    }
    std::vector<std::string> arguments = {"--socket", path_, "--from", "oldest", "-o", "json"};
    arguments.insert(arguments.end(), filter.begin(), filter.end());
    Tail tail(arguments);
    std::istringstream lines(tail.lines(static_cast<int>(expected.size())));
    std::vector<uint64_t> seen;
    for (std::string line; std::getline(lines, line);) {
      seen.push_back(nlohmann::json::parse(line)["cap_seq"]);
    }
    EXPECT_EQ(seen, expected) << filter[0];
    tail.signal(SIGTERM);
    EXPECT_EQ(tail.wait(), 0);
    const std::string told = "56 published, " + std::to_string(expected.size()) + " delivered, " +
                             std::to_string(56 - expected.size()) + " filtered, 0 lost";
    EXPECT_NE(tail.err.find(told), std::string::npos) << tail.err;
  }
}

TEST_F(TailProgram, GoesOnWithTheNextProducer) {
  auto producer = std::make_unique<TestProducer>(path_, small_options(), 3);
  Tail tail({"--socket", path_, "--from", "oldest"});
  EXPECT_EQ(count_lines(tail.lines(3)), 3u);
  producer->kill9();
  EXPECT_EQ(tail.lines(1), "-- gap: the producer is gone, records may be lost (restart)\n");
  producer = std::make_unique<TestProducer>(path_, small_options(), 3);
  EXPECT_EQ(count_lines(tail.lines(3)), 3u);
}

TEST_F(TailProgram, SaysThatThereIsNoProducer) {
  Tail tail({"--socket", path_});
  EXPECT_EQ(tail.wait(), 3);
  EXPECT_EQ(tail.err, "ebpf-tail: cannot connect to " + path_ +
                          ": No such file or directory (is ebpf-producer running?)\n");
}

TEST_F(TailProgram, RefusesOptionsThatItDoesNotKnow) {
  const std::vector<std::vector<std::string>> cases = {
      {"--nonsense"},      {"-o", "xml"},        {"--count", "0"},      {"--count", "-1"},
      {"--count", "1e3"},  {"--from", "middle"}, {"--lanes", "64"},     {"--lanes", "1,x"},
      {"extra"},           {"--proto", "smtp"},  {"--pid", "-1"},       {"--pid", "4294967296"},
      {"--port", "65536"}, {"--port", "x"},      {"--direction", "up"}, {"--msg-type", "both"}};
  for (const auto& arguments : cases) {
    Tail tail(arguments);
    EXPECT_EQ(tail.wait(), 2) << arguments[0];
    EXPECT_NE(tail.err, "") << arguments[0];
    EXPECT_EQ(tail.out, "") << arguments[0];
  }
  Tail help({"-h"});
  EXPECT_EQ(help.wait(), 0);
  EXPECT_NE(help.out.find("--socket"), std::string::npos);
  Tail version({"-V"});
  EXPECT_EQ(version.wait(), 0);
  EXPECT_EQ(version.out, "ebpf-tail " LIBEBPF_VERSION "\n");
}

TEST_F(TailProgram, EndsQuietlyWhenNobodyReadsAnyMore) {
  TestProducer producer(path_, small_options(), 10);
  Tail tail({"--socket", path_, "--from", "oldest"});
  EXPECT_EQ(count_lines(tail.lines(10)), 10u);
  tail.close_output();
  producer.write(10);
  EXPECT_EQ(tail.wait(), 0);
  EXPECT_EQ(tail.err, "");
}

TEST_F(TailProgram, SaysThatItCannotWrite) {
  TestProducer producer(path_, small_options(), 10);
  UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  Tail tail({"--socket", path_, "--from", "oldest"}, full.get());
  EXPECT_EQ(tail.wait(), 1);
  EXPECT_EQ(tail.err, "ebpf-tail: cannot write: No space left on device\n");
}

}  // namespace
}  // namespace ebpf

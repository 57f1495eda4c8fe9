// SPDX-License-Identifier: Apache-2.0
// Whose traffic is captured: by port, process id, name and protocol, decided in the kernel.
#include "producer/filters.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

class Filter : public testing::TestWithParam<Variant> {
 protected:
  TracerOptions options_ = small_options(GetParam());
  TracerFilters& filters_ = options_.filters;
};
INSTANTIATE_TEST_SUITE_P(BothObjects, Filter, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

int listening_tcp(uint16_t* port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  Address address = loopback(Family::kInet);
  require(bind(listener, address.get(), address.size) == 0, "bind");
  require(listen(listener, 4) == 0, "listen");
  *port = local_address(listener).port();
  return listener;
}

// One request over a connection to the listener, sent and received by the calling process.
void one_request(int listener) {
  Address to = local_address(listener);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  require(connect(client, to.get(), to.size) == 0, "connect");
  const int server = accept(listener, nullptr, nullptr);
  send_all(client, kRequest);
  require(receive(server) == kRequest, "request");
  close(client);
  close(server);
}

TEST_P(Filter, DeniesPorts) {
  uint16_t denied = 0;
  uint16_t other = 0;
  const int denied_listener = listening_tcp(&denied);
  const int other_listener = listening_tcp(&other);
  filters_.deny_ports = {{denied, denied}};
  EBPF_OPEN_TRACING(tracing, options_);
  const auto events = tracing->trace([&] {
    one_request(denied_listener);
    one_request(other_listener);
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data.tuple.rport, other);
  EXPECT_GE(tracing->tracer().counters()[COUNTER_FILTERED_PORT], 2u);
  close(denied_listener);
  close(other_listener);
}

TEST_P(Filter, AllowsPortRangesByEitherEnd) {
  uint16_t allowed = 0;
  uint16_t other = 0;
  const int allowed_listener = listening_tcp(&allowed);
  const int other_listener = listening_tcp(&other);
  filters_.allow_ports = {{1, 1}, {allowed, allowed}};
  EBPF_OPEN_TRACING(tracing, options_);
  const auto events = tracing->trace([&] {
    one_request(other_listener);
    one_request(allowed_listener);
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data.tuple.rport, allowed);  // the client's record
  EXPECT_EQ(events[1].data.tuple.lport, allowed);  // the server's
  close(allowed_listener);
  close(other_listener);
}

TEST_P(Filter, LooksAtThePortThatAUdpCallNames) {
  const int server = bound_udp(Family::kInet);
  Address to = local_address(server);
  filters_.deny_ports = {{to.port(), to.port()}};
  EBPF_OPEN_TRACING(tracing, options_);
  const std::string query = dns_query("example.org");
  const auto events = tracing->trace([&] {
    const int client = bound_udp(Family::kInet);
    const int other = bound_udp(Family::kInet);
    Address elsewhere = local_address(other);
    require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) > 0, "sendto");
    iovec iov = {const_cast<char*>(query.data()), query.size()};
    msghdr message = {};
    message.msg_name = to.get();
    message.msg_namelen = to.size;
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    require(sendmsg(client, &message, 0) > 0, "sendmsg");
    require(sendto(client, query.data(), query.size(), 0, elsewhere.get(), elsewhere.size) > 0,
            "sendto");
    return 0;
  });
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].data.tuple.rport, to.port());
  EXPECT_GE(tracing->tracer().counters()[COUNTER_FILTERED_PORT], 2u);
  close(server);
}

// Both processes must exist before the filter can name one of them.
struct Child {
  pid_t pid;
  int go;  // write end: lets it begin
};

Child waiting_child(const char* name) {
  int pipe_fds[2];
  require(pipe(pipe_fds) == 0, "pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    char go;
    prctl(PR_SET_NAME, name);
    require(read(pipe_fds[0], &go, 1) == 1, "go");
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    pair.close();
    _exit(0);
  }
  close(pipe_fds[0]);
  return {pid, pipe_fds[1]};
}

void let_go(const Child& child) {
  require(write(child.go, "g", 1) == 1, "go");
  close(child.go);
  waitpid(child.pid, nullptr, 0);
}

struct Seen {
  size_t first;
  size_t second;
  KernelCounters counters;
};

const std::string& first_name() {
  static const std::string name = own_name() + "-1";
  return name;
}

const std::string& second_name() {
  static const std::string name = own_name() + "-2";
  return name;
}

// How many records two processes with these names make under these filters.
std::optional<Seen> run_two(const TracerOptions& base,
                            const std::function<void(TracerFilters&, pid_t, pid_t)>& set,
                            std::string* why) {
  const Child first = waiting_child(first_name().c_str());
  const Child second = waiting_child(second_name().c_str());
  TracerOptions options = base;
  options.filters.allow_names = {first_name(), second_name()};
  set(options.filters, first.pid, second.pid);
  auto tracing = Tracing::open(options, why);
  if (tracing) {
    EXPECT_TRUE(tracing->tracer().start());
  }
  let_go(first);
  let_go(second);
  if (!tracing) return std::nullopt;
  EXPECT_TRUE(tracing->tracer().stop());
  Seen seen = {0, 0, tracing->tracer().counters()};
  for (const Event& event : tracing->take(0)) {
    seen.first += event.data.process_id == static_cast<uint32_t>(first.pid);
    seen.second += event.data.process_id == static_cast<uint32_t>(second.pid);
  }
  return seen;
}

#define EBPF_RUN_TWO(seen, set)                       \
  std::string why_not;                                \
  const auto seen = run_two(options_, set, &why_not); \
  if (!seen) {                                        \
    if (std::getenv("CI")) FAIL() << why_not;         \
    GTEST_SKIP() << why_not;                          \
  }

TEST_P(Filter, AllowsAProcess) {
  EBPF_RUN_TWO(seen, ([](TracerFilters& f, pid_t first, pid_t) {
                 f.allow_pids = {static_cast<uint32_t>(first)};
               }));
  EXPECT_EQ(seen->first, 1u);
  EXPECT_EQ(seen->second, 0u);
  EXPECT_GE(seen->counters[COUNTER_FILTERED_PID], 1u);
}

TEST_P(Filter, DeniesAProcessEvenIfItIsAllowed) {
  EBPF_RUN_TWO(seen, ([](TracerFilters& f, pid_t first, pid_t second) {
                 f.allow_pids = {static_cast<uint32_t>(first), static_cast<uint32_t>(second)};
                 f.deny_pids = {static_cast<uint32_t>(first)};
               }));
  EXPECT_EQ(seen->first, 0u);
  EXPECT_EQ(seen->second, 1u);
}

TEST_P(Filter, AllowsAName) {
  EBPF_RUN_TWO(seen, ([](TracerFilters& f, pid_t, pid_t) { f.allow_names = {second_name()}; }));
  EXPECT_EQ(seen->first, 0u);
  EXPECT_EQ(seen->second, 1u);
  EXPECT_GE(seen->counters[COUNTER_FILTERED_NAME], 1u);
}

TEST_P(Filter, DeniesANameAndKeepsOthers) {
  EBPF_RUN_TWO(seen, ([](TracerFilters& f, pid_t first, pid_t second) {
                 f.allow_names.clear();
                 f.deny_names = {second_name(), "x"};
                 f.allow_pids = {static_cast<uint32_t>(first), static_cast<uint32_t>(second)};
               }));
  EXPECT_EQ(seen->first, 1u);
  EXPECT_EQ(seen->second, 0u);
}

TEST(FilterLists, AreParsed) {
  EXPECT_EQ(*parse_protocols("all"), PROTOCOLS_ALL);
  EXPECT_EQ(*parse_protocols("http1,dns"), PROTOCOL_BIT(1) | PROTOCOL_BIT(7));
  const auto ports = parse_ports("80,8000-8100,65535");
  ASSERT_TRUE(ports);
  ASSERT_EQ(ports->size(), 3u);
  EXPECT_EQ((*ports)[1].first, 8000);
  EXPECT_EQ((*ports)[1].last, 8100);
  EXPECT_EQ(parse_pids("1,4194304")->size(), 2u);
  EXPECT_EQ(parse_names("nginx,fifteen-letters")->back(), "fifteen-letters");
}

TEST(FilterLists, AreRefusedWithWhatWouldBeRight) {
  for (const char* wrong :
       {"", "80,", "0", "65536", "9-8", "-9", "9-", "1e3", "+1", " 1", "1-2-3"}) {
    EXPECT_FALSE(parse_ports(wrong)) << wrong;
  }
  for (const char* wrong : {"", "0", "4194305", "-1", "1,,2", "18446744073709551617"}) {
    EXPECT_FALSE(parse_pids(wrong)) << wrong;
  }
  for (const char* wrong : {"", "http", "http1,", "HTTP1"}) EXPECT_FALSE(parse_protocols(wrong));
  EXPECT_FALSE(parse_names("sixteen-letters!"));
  EXPECT_NE(parse_ports("99999").error().message.find("'99999'"), std::string::npos);
}

TEST(FilterLists, AreDescribedInOneLine) {
  TracerFilters filters;
  EXPECT_EQ(describe(filters), "");
  filters.protocols = PROTOCOL_BIT(1) | PROTOCOL_BIT(7);
  filters.allow_ports = {{80, 80}, {8000, 8100}};
  filters.deny_names = {"curl"};
  EXPECT_EQ(describe(filters), "protocols http1,dns; allow ports 80,8000-8100; deny names curl");
}

}  // namespace
}  // namespace ebpf::test

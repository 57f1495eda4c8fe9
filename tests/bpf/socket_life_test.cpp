// SPDX-License-Identifier: Apache-2.0
// Many sockets and processes that live briefly, and large tables: no record may carry
// another socket's or process's identity, and nothing that has ended stays in the maps.
#include <arpa/inet.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

class SocketLife : public testing::TestWithParam<Variant> {
 protected:
  void SetUp() override { options_.perf_pages = 2048; }
  TracerOptions options_ = small_options(GetParam());
};
INSTANTIATE_TEST_SUITE_P(BothObjects, SocketLife, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

// What a request says about who sends it, for comparison with the record's fields.
struct Claim {
  uint32_t process_id;
  uint16_t sender_port;
  uint16_t receiver_port;
};

std::string request_of(const Claim& claim) {
  return "GET /" + std::to_string(claim.process_id) +
         " HTTP/1.1\r\nPorts: " + std::to_string(claim.sender_port) + " " +
         std::to_string(claim.receiver_port) + "\r\n\r\n";
}

Claim claim_of(const std::string& payload) {
  Claim claim = {};
  EXPECT_EQ(std::sscanf(payload.c_str(), "GET /%u HTTP/1.1 Ports: %hu %hu", &claim.process_id,
                        &claim.sender_port, &claim.receiver_port),
            3)
      << payload;
  return claim;
}

void expect_own_identity(const Event& event) {
  const Claim claim = claim_of(event.payload);
  const bool sent = event.data.direction == SOCK_DIR_SND;
  EXPECT_EQ(event.data.process_id, claim.process_id);
  EXPECT_EQ(event.data.tuple.lport, sent ? claim.sender_port : claim.receiver_port);
  EXPECT_EQ(event.data.tuple.rport, sent ? claim.receiver_port : claim.sender_port);
  EXPECT_EQ(event.data.cap_seq, 0u);
}

TEST_P(SocketLife, TenThousandShortConnectionsKeepTheirIdentities) {
  options_.max_socket_entries = 4096;  // fewer than there are in all: they leave when they end
  EBPF_OPEN_TRACING(tracing, options_);
  constexpr int kThreads = 2;
  constexpr int kEach = 5000;
  uint64_t lost = 0;
  const auto events = stream(
      *tracing,
      [&] {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; t++) {
          threads.emplace_back([] {
            const int listener = socket(AF_INET, SOCK_STREAM, 0);
            Address address = loopback(Family::kInet);
            require(bind(listener, address.get(), address.size) == 0, "bind");
            require(listen(listener, 16) == 0, "listen");
            address = local_address(listener);
            for (int i = 0; i < kEach; i++) {
              const int client = socket(AF_INET, SOCK_STREAM, 0);
              require(connect(client, address.get(), address.size) == 0, "connect");
              const int server = accept(listener, nullptr, nullptr);
              send_all(client, request_of({static_cast<uint32_t>(getpid()),
                                           local_address(client).port(), address.port()}));
              receive(server, 512);
              // No TIME_WAIT: ports, descriptors and addresses come back at once.
              const linger now = {1, 0};
              setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
              close(client);
              close(server);
            }
          });
        }
        for (auto& thread : threads) thread.join();
        return 0;
      },
      &lost);
  ASSERT_EQ(lost, 0u);
  ASSERT_EQ(events.size(), 2u * kThreads * kEach);
  std::set<uint64_t> ids;
  for (const Event& event : events) {
    expect_own_identity(event);
    ids.insert(event.data.socket_id);
    if (HasFailure()) return;
  }
  EXPECT_EQ(ids.size(), events.size());
  EXPECT_EQ(tracing->tracer().counters()[COUNTER_SOCKET_INSERTED], events.size());
  EXPECT_LE(sockets_in_map_at_last(*tracing, kSocketsThatMayStay), kSocketsThatMayStay);
  EXPECT_EQ(tracing->tracer().counters()[COUNTER_SOCKET_MAP_FULL], 0u);
}

TEST_P(SocketLife, AThousandShortProcessesKeepTheirIdentities) {
  EBPF_OPEN_TRACING(tracing, options_);
  constexpr int kProcesses = 1000;
  constexpr int kAtOnce = 50;
  uint64_t lost = 0;
  const auto events = stream(
      *tracing,
      [&] {
        const int listener = socket(AF_INET, SOCK_STREAM, 0);
        Address address = loopback(Family::kInet);
        require(bind(listener, address.get(), address.size) == 0, "bind");
        require(listen(listener, 2 * kAtOnce) == 0, "listen");
        address = local_address(listener);
        for (int batch = 0; batch < kProcesses / kAtOnce; batch++) {
          for (int i = 0; i < kAtOnce; i++) {
            if (fork() != 0) continue;
            const int fd = socket(AF_INET, SOCK_STREAM, 0);
            require(connect(fd, address.get(), address.size) == 0, "connect");
            send_all(fd, request_of({static_cast<uint32_t>(getpid()), local_address(fd).port(),
                                     address.port()}));
            _exit(0);
          }
          int status = 0;
          while (wait(&status) > 0) require(status == 0, "a short process");
          for (int i = 0; i < kAtOnce; i++) close(accept(listener, nullptr, nullptr));
        }
        return 0;
      },
      &lost);
  ASSERT_EQ(lost, 0u);
  ASSERT_EQ(events.size(), static_cast<size_t>(kProcesses));
  std::set<uint64_t> ids;
  std::set<uint32_t> processes;
  for (const Event& event : events) {
    expect_own_identity(event);
    EXPECT_EQ(event.data.syscall_trace_id_call, 0u) << "a new thread has received nothing";
    ids.insert(event.data.socket_id);
    processes.insert(event.data.process_id);
  }
  EXPECT_EQ(ids.size(), events.size());
  EXPECT_EQ(processes.size(), events.size());
  const KernelCounters counters = tracing->tracer().counters();
  EXPECT_EQ(counters[COUNTER_TRACE_INSERTED], counters[COUNTER_TRACE_DELETED]);
}

// In ten processes, which all hold theirs until the last one is there.
TEST_P(SocketLife, HoldsAHundredThousandSocketsApart) {
  constexpr uint32_t kProcesses = 10;
  constexpr uint32_t kEach = 10'000;
  constexpr uint32_t kSockets = kProcesses * kEach;
  const rlimit enough = {kEach + 200, kEach + 200};
  options_.max_socket_entries = 131'072;
  options_.perf_pages = 8192;
  EBPF_OPEN_TRACING(tracing, options_);
  uint64_t lost = 0;
  const auto body = [&] {
    int ready[2];
    require(pipe(ready) == 0, "pipe");
    const int sink = bound_udp(Family::kInet);
    Address to = local_address(sink);
    const std::string query = dns_query("example.org");
    std::vector<pid_t> children;
    for (uint32_t process = 0; process < kProcesses; process++) {
      children.push_back(fork());
      if (children.back() != 0) continue;
      require(setrlimit(RLIMIT_NOFILE, &enough) == 0, "RLIMIT_NOFILE");
      std::vector<int> fds;
      for (uint32_t i = 0; i < kEach; i++) {
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        sockaddr_in own = {};
        own.sin_family = AF_INET;
        own.sin_addr.s_addr = htonl(0x7f000101 + process);
        own.sin_port = htons(static_cast<uint16_t>(10'000 + i));
        require(fd >= 0, "socket");
        require(bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof(own)) == 0, "bind");
        fds.push_back(fd);
        sendto(fd, query.data(), query.size(), 0, to.get(), to.size);
      }
      for (uint32_t i = 0; i < kEach; i += 10) {
        sendto(fds[i], query.data(), query.size(), 0, to.get(), to.size);
      }
      require(write(ready[1], "r", 1) == 1, "ready");
      pause();
    }
    close(ready[1]);
    char byte;
    uint32_t ready_count = 0;
    while (ready_count < kProcesses && read(ready[0], &byte, 1) == 1) ready_count++;
    for (const pid_t child : children) kill(child, SIGKILL);
    while (wait(nullptr) > 0) {
    }
    require(ready_count == kProcesses, "every process");
    return 0;
  };
  const auto events = stream(*tracing, body, &lost);
  ASSERT_EQ(lost, 0u);
  ASSERT_EQ(events.size(), kSockets + kSockets / 10);
  std::map<std::pair<uint32_t, uint16_t>, uint64_t> id_of;
  std::set<uint64_t> ids;
  size_t wrong = 0;
  for (const Event& event : events) {
    uint32_t address = 0;
    std::memcpy(&address, event.data.tuple.laddr, sizeof(address));
    const auto [known, is_new] =
        id_of.emplace(std::pair(address, event.data.tuple.lport), event.data.socket_id);
    wrong += known->second != event.data.socket_id;
    wrong += event.data.cap_seq != (is_new ? 0u : 1u);
    ids.insert(event.data.socket_id);
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(ids.size(), kSockets);
  EXPECT_EQ(id_of.size(), kSockets);
}

TEST_P(SocketLife, SurvivesPassingToAnotherProcess) {
  EBPF_OPEN_TRACING(tracing, options_);
  tracing->run([&] {
    Pair pair = connect_tcp(Family::kInet);
    int channel[2];
    require(socketpair(AF_UNIX, SOCK_DGRAM, 0, channel) == 0, "socketpair");
    const pid_t child = fork();
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    char byte = 0;
    iovec iov = {&byte, 1};
    msghdr message = {};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof(room);
    if (child == 0) {
      pair.close();  // only what is passed counts
      require(recvmsg(channel[1], &message, 0) == 1, "recvmsg");
      int fd;
      std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
      send_all(fd, "GET /passed HTTP/1.1\r\n\r\n");
      _exit(0);
    }
    send_all(pair.client, "GET /own HTTP/1.1\r\n\r\n");
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(control), &pair.client, sizeof(int));
    require(sendmsg(channel[0], &message, 0) == 1, "sendmsg");
    close(pair.client);
    int status = 0;
    require(waitpid(child, &status, 0) == child && status == 0, "child");
    return 0;
  });
  const auto events = tracing->take(0);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].data.socket_id, events[0].data.socket_id);
  EXPECT_EQ(events[1].data.cap_seq, 1u);
  EXPECT_NE(events[1].data.process_id, events[0].data.process_id);
}

// TCP says so itself, mostly; of the others, user space asks.
TEST_P(SocketLife, FreesTheSocketsOfAKilledProcess) {
  EBPF_OPEN_TRACING(tracing, options_);
  KernelTracer& tracer = tracing->tracer();
  ASSERT_TRUE(tracer.start());
  Pair alive = connect_udp(Family::kInet);
  constexpr int kEach = 100;
  int ready[2];
  require(pipe(ready) == 0, "pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    send_all(alive.client, dns_query("alive.example"));
    for (int i = 0; i < kEach; i++) {
      send_all(connect_tcp(Family::kInet).client, "GET / HTTP/1.1\r\n\r\n");
      send_all(connect_udp(Family::kInet).client, dns_query("example.org"));
    }
    require(write(ready[1], "r", 1) == 1, "ready");
    pause();
  }
  char byte;
  require(read(ready[0], &byte, 1) == 1, "ready");
  EXPECT_EQ(sockets_in_map(*tracing), 2u * kEach + 1);
  EXPECT_EQ(tracer.forget_dead_sockets(1000), 0u);
  usleep(1'100'000);
  EXPECT_EQ(tracer.forget_dead_sockets(1000), 0u) << "all of them are held";
  kill(pid, SIGKILL);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_LE(tracer.forget_dead_sockets(7), 7u);
  const uint64_t left = sockets_in_map_at_last(*tracing, kSocketsThatMayStay);
  EXPECT_GE(left, 1u) << "the one that this process still holds";
  EXPECT_LE(left, kSocketsThatMayStay);
  alive.close();
}

// The floor has no fetch-and-add; there a map serves as a lock.
TEST_P(SocketLife, CountsTheRecordsOfASocketThatManyThreadsUse) {
  options_.cap_bytes = 64;
  EBPF_OPEN_TRACING(tracing, options_);
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  uint64_t lost = 0;
  const auto events = stream(
      *tracing,
      [&] {
        Pair pair = connect_udp(Family::kInet);
        const std::string query = dns_query("example.org");
        std::vector<std::thread> threads;
        for (int i = 0; i < kThreads; i++) {
          threads.emplace_back([&] {
            for (int n = 0; n < kEach; n++) send(pair.client, query.data(), query.size(), 0);
          });
        }
        for (auto& thread : threads) thread.join();
        return 0;
      },
      &lost);
  ASSERT_EQ(lost, 0u);
  ASSERT_EQ(events.size(), size_t{kThreads * kEach});
  std::set<uint64_t> numbers;
  for (const Event& event : events) numbers.insert(event.data.cap_seq);
  EXPECT_EQ(numbers.size(), events.size());
  EXPECT_EQ(*numbers.rbegin(), events.size() - 1);
}

}  // namespace
}  // namespace ebpf::test

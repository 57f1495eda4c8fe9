// SPDX-License-Identifier: Apache-2.0
// Socket ids, record numbers and trace ids; and the maps behind them.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "bpf/socket_state.h"
#include "producer/bpf_rights.h"
#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "GET / HTTP/1.1\r\n\r\n";
const std::string kResponse = "HTTP/1.1 200 OK\r\n\r\n";

class SocketIdentity : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(BothObjects, SocketIdentity, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(SocketIdentity, SurvivesDupAndFork) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  tracing->run([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    const int copy = dup(pair.client);
    close(pair.client);
    send_all(copy, kRequest);
    const pid_t child = fork();
    if (child == 0) {
      send_all(copy, kRequest);
      _exit(0);
    }
    require(waitpid(child, nullptr, 0) == child, "waitpid");
    send_all(copy, kRequest);
    return 0;
  });
  const auto events = tracing->take(0);
  ASSERT_EQ(events.size(), 4u);
  for (size_t i = 0; i < events.size(); i++) {
    EXPECT_EQ(events[i].data.socket_id, events[0].data.socket_id);
    EXPECT_EQ(events[i].data.cap_seq, i);
  }
  EXPECT_NE(events[2].data.process_id, events[0].data.process_id);
}

// The kernel soon gives the same addresses out again; only the id may tell them apart.
TEST_P(SocketIdentity, IsNeverReused) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  constexpr size_t kUdp = 4000;
  constexpr size_t kTcp = 200;
  uint64_t lost = 0;
  const auto body = [&] {
    const int server = bound_udp(Family::kInet);
    Address to = local_address(server);
    const std::string query = dns_query("example.org");
    for (size_t i = 0; i < kUdp; i++) {
      const int client = bound_udp(Family::kInet);
      require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) > 0, "sendto");
      close(client);
    }
    for (size_t i = 0; i < kTcp; i++) {
      Pair pair = connect_tcp(Family::kInet);
      send_all(pair.client, kRequest);
      pair.close();
    }
    return 0;
  };
  const auto events = stream(*tracing, body, &lost);
  ASSERT_EQ(lost, 0u);
  ASSERT_EQ(events.size(), kUdp + kTcp);
  std::set<uint64_t> ids;
  for (const Event& event : events) {
    EXPECT_EQ(event.data.cap_seq, 0u);
    ids.insert(event.data.socket_id);
  }
  EXPECT_EQ(ids.size(), kUdp + kTcp);
  EXPECT_EQ(tracing->tracer().counters()[COUNTER_SOCKET_INSERTED], kUdp + kTcp);
  // What was closed leaves the map.
  EXPECT_LE(sockets_in_map_at_last(*tracing, kSocketsThatMayStay), kSocketsThatMayStay);
}

// A socket whose TCP connection is over, but which is still held, can still be read.
TEST_P(SocketIdentity, LastsUntilTheLastByteWasRead) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair pair = connect_tcp(Family::kInet);
    send_all(pair.client, kRequest);
    receive(pair.server);
    shutdown(pair.client, SHUT_WR);
    send_all(pair.server, kResponse);
    close(pair.server);
    usleep(20000);
    while (!receive(pair.client, 7).empty()) {
    }
    return 0;
  });
  ASSERT_EQ(events.size(), 6u);
  for (size_t i = 3; i < events.size(); i++) {
    EXPECT_EQ(events[i].data.socket_id, events[0].data.socket_id);
    EXPECT_EQ(events[i].data.cap_seq, i - 2);
  }
}

TEST_P(SocketIdentity, TraceIdGoesFromWhatCameInToWhatGoesOut) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    Pair front = connect_tcp(Family::kInet);
    Pair back1 = connect_tcp(Family::kInet);
    Pair back2 = connect_tcp(Family::kInet6);
    send_all(front.client, kRequest);   // 0: nothing was received before
    receive(front.server, 5);           // 1: a new id
    receive(front.server);              // 2: the same, in pieces
    send_all(back1.client, kRequest);   // 3: fan-out
    send_all(back2.client, kRequest);   // 4
    receive(back1.server);              // 5: another one
    send_all(back1.server, kResponse);  // 6
    receive(back1.client);              // 7: another socket, another id
    return 0;
  });
  ASSERT_EQ(events.size(), 8u);
  const auto id = [&](size_t i) { return events[i].data.syscall_trace_id_call; };
  EXPECT_EQ(id(0), 0u);
  EXPECT_NE(id(1), 0u);
  EXPECT_EQ(id(2), id(1));
  EXPECT_EQ(id(3), id(1));
  EXPECT_EQ(id(4), id(1));
  EXPECT_GT(id(5), id(1));
  EXPECT_EQ(id(6), id(5));
  EXPECT_GT(id(7), id(5));
}

TEST_P(SocketIdentity, ForgetsThreadsThatEnded) {
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  tracing->run([&] {
    Pair pair = connect_tcp(Family::kInet);
    for (int i = 0; i < 20; i++) {
      std::thread([&] {
        send_all(pair.client, kRequest);
        receive(pair.server);
      }).join();
    }
    return 0;
  });
  const KernelCounters counters = tracing->tracer().counters();
  EXPECT_EQ(counters[COUNTER_TRACE_INSERTED], 20u);
  EXPECT_EQ(counters[COUNTER_TRACE_DELETED], 20u);
}

TEST_P(SocketIdentity, CountsCallsThatFoundAMapFull) {
  TracerOptions options = small_options(GetParam());
  options.max_socket_entries = 8;
  options.max_trace_entries = 1;
  EBPF_OPEN_TRACING(tracing, options);
  tracing->run([&] {
    for (int i = 0; i < 20; i++) {
      Pair pair = connect_tcp(Family::kInet);  // left open
      send_all(pair.client, kRequest);
      send_all(pair.server, kResponse);
      receive(pair.server);  // takes the one entry of the trace map
      std::thread([&] { receive(pair.client); }).join();
    }
    return 0;
  });
  const auto events = tracing->take(0);
  const KernelCounters counters = tracing->tracer().counters();
  EXPECT_GT(counters[COUNTER_SOCKET_MAP_FULL], 0u);
  EXPECT_EQ(counters[COUNTER_EMITTED], events.size());
  EXPECT_GE(counters[COUNTER_EMITTED] + counters[COUNTER_SOCKET_MAP_FULL], 80u);
  EXPECT_GT(counters[COUNTER_TRACE_MAP_FULL], 0u);
  uint64_t without = 0;
  for (const Event& event : of_direction(events, SOCK_DIR_RCV)) {
    without += event.data.syscall_trace_id_call == 0;
  }
  EXPECT_EQ(without, counters[COUNTER_TRACE_MAP_FULL]);
}

// Makes every second entry of the socket map with this size look as old as the machine, and the
// others younger than anything: however long this test takes.
int age_half_of_the_sockets(uint32_t max_entries) {
  int aged = 0;
  for (uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) {
    const int fd = bpf_map_get_fd_by_id(id);
    bpf_map_info info = {};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.max_entries == max_entries &&
        std::string(info.name) == "socket_map") {
      std::vector<uint64_t> keys;  // first of all: an update can move an entry in this order
      uint64_t key;
      while (bpf_map_get_next_key(fd, keys.empty() ? nullptr : &keys.back(), &key) == 0)
        keys.push_back(key);
      for (size_t n = 0; n < keys.size(); n++) {
        socket_entry entry;
        if (bpf_map_lookup_elem(fd, &keys[n], &entry) != 0) continue;
        entry.last_use_ns = n % 2 == 0 ? UINT64_MAX : 1;
        const bool is_set = bpf_map_update_elem(fd, &keys[n], &entry, BPF_EXIST) == 0;
        aged += is_set && n % 2 == 1;
      }
    }
    close(fd);
  }
  return aged;
}

TEST_P(SocketIdentity, SweepRemovesOnlyWhatIsIdle) {
  TracerOptions options = small_options(GetParam());
  // By this number the map is found, and the map of the run before may live a little longer.
  static uint32_t runs = 4;
  options.max_socket_entries = 1000 * runs++ + static_cast<uint32_t>(getpid()) % 1000;
  EBPF_OPEN_TRACING(tracing, options);
  constexpr int kSockets = 50;
  tracing->run([&] {
    for (int i = 0; i < kSockets; i++) {
      const int client = bound_udp(Family::kInet);  // left open until the end
      Address to = loopback(Family::kInet);
      reinterpret_cast<sockaddr_in*>(&to.storage)->sin_port = htons(9);
      const std::string query = dns_query("example.org");
      require(sendto(client, query.data(), query.size(), 0, to.get(), to.size) > 0, "sendto");
    }
    return 0;
  });
  KernelTracer& tracer = tracing->tracer();
  ASSERT_EQ(age_half_of_the_sockets(options.max_socket_entries), kSockets / 2);
  uint32_t removed = 0;
  for (int i = 0; i < 3; i++) removed += tracer.reclaim_sockets(kSockets - 10, 1000);
  EXPECT_EQ(removed, 10u) << "no more than asked for";
  for (int i = 0; i < 20; i++) {
    const uint32_t step = tracer.reclaim_sockets(0, 7);
    EXPECT_LE(step, 7u);
    removed += step;
  }
  EXPECT_EQ(removed, kSockets / 2u) << "any number of walks keeps the others";
  EXPECT_EQ(tracer.counters()[COUNTER_SOCKET_DELETED], kSockets / 2u);
}

// Many threads on one socket: numbers without gap or repeat. The floor object has no
// fetch-and-add and documents that it cannot promise this.
TEST(CapSeq, HasNoGapOrRepeatWithManyThreads) {
  if (kernel_version() < 5012) GTEST_SKIP() << "no atomic fetch-and-add in BPF before 5.12";
  TracerOptions options = small_options({"Raw", AttachMode::kRaw, false});
  options.cap_bytes = 64;
  EBPF_OPEN_TRACING(tracing, options);
  constexpr int kThreads = 4;
  constexpr int kEach = 700;
  const auto events = tracing->trace([&] {
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
  });
  ASSERT_EQ(events.size(), size_t{kThreads * kEach});
  std::set<uint64_t> numbers;
  std::set<uint64_t> sockets;
  for (const Event& event : events) {
    numbers.insert(event.data.cap_seq);
    sockets.insert(event.data.socket_id);
  }
  EXPECT_EQ(sockets.size(), 1u);
  EXPECT_EQ(numbers.size(), events.size());
  EXPECT_EQ(*numbers.rbegin(), events.size() - 1);
}

}  // namespace
}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
// The traced process of scale_bench: UDP sockets in any number, each connected to itself, and
// threads that send a DNS question through them and receive it again. It does what it is told on
// stdin, a line at a time, and answers with a line of JSON.
//
//   open N FIRST                        have N sockets, of which each has said something; addresses
//                                       are counted from FIRST, for several processes
//   close N                             close the last N
//   work THREADS PICK RATE PAIRS        PICK: one (socket of each thread) or random (of all);
//                                       RATE: pairs a second of all threads, 0: no pauses
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "clock.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

// Pairs between two pauses; CPU time is taken of so many at once.
constexpr uint64_t kBatch = 20;
constexpr uint32_t kFirstPort = 2000;
constexpr uint32_t kPortsPerAddress = 60'000;

// A question for the address of "scale.bench".
constexpr char kQuestion[] =
    "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05scale\x05"
    "bench\x00\x00\x01\x00\x01";
constexpr size_t kQuestionBytes = sizeof(kQuestion) - 1;

struct Order {
  uint32_t threads = 1;
  bool random = false;
  uint64_t rate = 0;
  uint64_t pairs = 0;
};

// What one thread measured: CPU time per pair of each batch, ns.
struct Measured {
  std::vector<double> batches;
  uint64_t pairs = 0;
  uint64_t failed = 0;
};

bool do_pair(int fd) {
  char room[kQuestionBytes];
  return send(fd, kQuestion, kQuestionBytes, MSG_NOSIGNAL) == kQuestionBytes &&
         recv(fd, room, sizeof room, 0) == kQuestionBytes;
}

class Sockets {
 public:
  ~Sockets() { close_last(fds_.size()); }

  // Opens up to `count`; fewer where the system allows no more.
  void open(size_t count, size_t first) {
    allow(count);
    while (fds_.size() < count) {
      const int fd = open_one(static_cast<uint32_t>(first + fds_.size()));
      if (fd < 0) break;
      fds_.push_back(fd);
      do_pair(fd);
    }
  }
  void close_last(size_t count) {
    for (; count > 0 && !fds_.empty(); --count) {
      close(fds_.back());
      fds_.pop_back();
    }
  }
  const std::vector<int>& fds() const { return fds_; }

 private:
  static void allow(size_t count) {
    constexpr rlim_t kOthers = 64;
    rlimit limit{count + kOthers, count + kOthers};
    rlimit now{};
    if (getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur >= limit.rlim_cur) return;
    limit.rlim_max = std::max(limit.rlim_max, now.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
    now.rlim_cur = now.rlim_max;
    setrlimit(RLIMIT_NOFILE, &now);
  }
  static int open_one(uint32_t index) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl((127u << 24) + 1 + index / kPortsPerAddress);
    address.sin_port = htons(static_cast<uint16_t>(kFirstPort + index % kPortsPerAddress));
    const auto* name = reinterpret_cast<const sockaddr*>(&address);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, name, sizeof address) == 0 && connect(fd, name, sizeof address) == 0) return fd;
    close(fd);
    return -1;
  }

  std::vector<int> fds_;
};

class Thread {
 public:
  Thread(const Order& order, const std::vector<int>& fds, uint32_t index)
      : order_(order), fds_(fds), index_(index), random_(index * 2654435761u + 1) {}

  void run(const std::atomic<bool>& go) {
    while (!go.load(std::memory_order_acquire)) sleep_us(100);
    const uint64_t pairs = order_.pairs / order_.threads;
    // One after the other: all at once would be a burst, and what was asked for is a rate.
    uint64_t next_ns = now_ns() + index_ * pause_ns() / order_.threads;
    if (order_.rate != 0) sleep_until(next_ns);
    while (measured_.pairs < pairs) {
      const uint64_t begin_ns = thread_cpu_ns();
      for (uint64_t i = 0; i < kBatch; ++i) measured_.failed += do_pair(pick()) ? 0 : 1;
      measured_.batches.push_back(static_cast<double>(thread_cpu_ns() - begin_ns) / kBatch);
      measured_.pairs += kBatch;
      if (order_.rate == 0) continue;
      next_ns += pause_ns();
      sleep_until(next_ns);
    }
  }
  const Measured& measured() const { return measured_; }

 private:
  // From the begin of one batch to that of the next.
  uint64_t pause_ns() const {
    return order_.rate == 0 ? 0 : kBatch * order_.threads * 1'000'000'000 / order_.rate;
  }
  static void sleep_until(uint64_t then_ns) {
    const uint64_t now = now_ns();
    if (then_ns > now) sleep_us(static_cast<long>((then_ns - now) / 1000));
  }
  int pick() {
    if (!order_.random) return fds_[index_ % fds_.size()];
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return fds_[random_ % fds_.size()];
  }

  const Order& order_;
  const std::vector<int>& fds_;
  uint32_t index_;
  uint32_t random_;
  Measured measured_;
};

void work(const Order& order, const std::vector<int>& fds) {
  std::vector<Thread> workers;
  workers.reserve(order.threads);
  for (uint32_t i = 0; i < order.threads; ++i) workers.emplace_back(order, fds, i);
  std::vector<std::thread> threads;
  std::atomic<bool> go{false};
  for (Thread& worker : workers) threads.emplace_back([&worker, &go] { worker.run(go); });
  sleep_us(2000);
  const uint64_t begin_ns = now_ns();
  go.store(true, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();
  const auto took_ns = static_cast<double>(now_ns() - begin_ns);

  Measured all;
  for (const Thread& worker : workers) {
    const Measured& one = worker.measured();
    all.batches.insert(all.batches.end(), one.batches.begin(), one.batches.end());
    all.pairs += one.pairs;
    all.failed += one.failed;
  }
  std::printf(
      "{\"pairs\": %lu, \"failed\": %lu, \"seconds\": %.6f, \"best_ns\": %.1f, "
      "\"median_ns\": %.1f}\n",
      all.pairs, all.failed, took_ns / 1e9, quantile(all.batches, 0.05),
      quantile(all.batches, 0.5));
}

int serve() {
  Sockets sockets;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what, pick;
    size_t count = 0;
    size_t first = 0;
    Order order;
    words >> what;
    if (what == "open" && words >> count >> first) {
      sockets.open(count, first);
      std::printf("{\"sockets\": %zu}\n", sockets.fds().size());
    } else if (what == "close" && words >> count) {
      sockets.close_last(count);
      std::printf("{\"sockets\": %zu}\n", sockets.fds().size());
    } else if (what == "work" && words >> order.threads >> pick >> order.rate >> order.pairs &&
               order.threads > 0 && !sockets.fds().empty()) {
      order.random = pick == "random";
      work(order, sockets.fds());
    } else {
      std::fprintf(stderr, "scale_worker: '%s' is no order\n", line.c_str());
      return 2;
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace ebpf::bench

int main() { return ebpf::bench::serve(); }

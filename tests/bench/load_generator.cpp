// SPDX-License-Identifier: Apache-2.0
// A client with a fixed schedule: request n is due at n / rate, whatever became of those before
// it, and its latency counts from then, so that a server that stalls is not spared. Without a
// rate it goes as fast as the connections allow. It learns from the first answer how long answers
// are, so any protocol will do whose answers do not vary. docs/BENCHMARKS.md.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "clock.h"
#include "experiments.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

constexpr uint64_t kNsPerS = 1'000'000'000;
constexpr uint64_t kPatienceNs = kNsPerS;  // for an answer over UDP, and at the end for all
constexpr int kSilenceMs = 100;            // after it, an answer is complete

struct Options {
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  bool udp = false;
  std::string request;  // a file each
  std::string login;
  uint32_t connections = 50;
  uint32_t batch = 1;  // requests that are sent with one call
  double rate = 0;     // requests per second
  double seconds = 1;
};

struct Connection {
  int fd = -1;
  uint16_t id = 0;      // of the last DNS query
  size_t missing = 0;   // bytes of its answer; 0: nothing is under way
  uint64_t due_ns = 0;  // of the request under way
};

struct Outcome {
  std::vector<uint64_t> latency_ns;  // of each batch
  uint64_t sends = 0, receives = 0, timeouts = 0, errors = 0;
  uint64_t begin_ns = 0, end_ns = 0;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + (errno != 0 ? std::string(": ") + std::strerror(errno) : ""));
}

std::string file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

int connect_to(const Options& options) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(options.port);
  if (inet_pton(AF_INET, options.address.c_str(), &to.sin_addr) != 1) fail("no IPv4 address");
  const int fd = socket(AF_INET, (options.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    fail("cannot connect");
  }
  const int on = 1;
  if (!options.udp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// All bytes that come until it is silent.
size_t receive_answer(int fd) {
  char buffer[65536];
  size_t length = 0;
  for (int wait_ms = 10'000;; wait_ms = kSilenceMs) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, wait_ms) <= 0) break;
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) fail("the server hangs up");
    length += static_cast<size_t>(got);
  }
  if (length == 0) fail("the server does not answer");
  return length;
}

class Generator {
 public:
  explicit Generator(const Options& options) : options_(options) {
    const std::string request = file_content(options.request);
    for (uint32_t i = 0; i < options.batch; ++i) request_ += request;
    const std::string login = options.login.empty() ? "" : file_content(options.login);
    poll_ = epoll_create1(EPOLL_CLOEXEC);
    connections_.resize(options.connections);
    for (uint32_t i = 0; i < options.connections; ++i) {
      connections_[i].fd = connect_to(options);
      if (!login.empty()) log_in(connections_[i].fd, login);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = i;
      if (epoll_ctl(poll_, EPOLL_CTL_ADD, connections_[i].fd, &event) != 0) fail("epoll");
      idle_.push_back(i);
    }
    const int first = connections_[0].fd;
    if (send(first, request_.data(), request_.size(), 0) < 0) fail("cannot send");
    answer_bytes_ = receive_answer(first);
    for (const Connection& one : connections_) fcntl(one.fd, F_SETFL, O_NONBLOCK);
    prctl(PR_SET_TIMERSLACK, 1000);  // nanoseconds; the default would be late by 50,000
  }

  Outcome run() {
    Outcome outcome;
    outcome.begin_ns = outcome.end_ns = now_ns();
    const double batches = options_.rate * options_.seconds / options_.batch;
    const double interval_ns =
        options_.rate > 0 ? static_cast<double>(kNsPerS) * options_.batch / options_.rate : 0;
    const auto length_ns = static_cast<uint64_t>(options_.seconds * static_cast<double>(kNsPerS));
    const uint64_t last_ns = outcome.begin_ns + length_ns;
    uint64_t sent = 0;
    while (true) {
      const uint64_t now = now_ns();
      const bool paced = interval_ns > 0;
      const bool all_sent = paced ? static_cast<double>(sent) >= batches : now >= last_ns;
      if (all_sent && idle_.size() == connections_.size()) break;
      if (now >= last_ns + kPatienceNs) break;
      uint64_t due = now;
      while (!all_sent && !idle_.empty() && (!paced || static_cast<double>(sent) < batches)) {
        if (paced) {
          due = outcome.begin_ns + static_cast<uint64_t>(static_cast<double>(sent) * interval_ns);
          if (due > now) break;
        }
        send_next(due, &outcome);
        ++sent;
      }
      const bool waits_for_time = paced && !all_sent && due > now;
      receive_all(waits_for_time ? due - now : 50'000'000, &outcome);
      if (options_.udp) give_up_old(&outcome);
    }
    for (const Connection& one : connections_) outcome.timeouts += one.missing > 0;
    return outcome;
  }

 private:
  static void log_in(int fd, const std::string& login) {
    pollfd ready{fd, POLLIN, 0};
    char buffer[4096];
    if (poll(&ready, 1, 10'000) <= 0 || recv(fd, buffer, sizeof buffer, 0) <= 0) {
      fail("no greeting");
    }
    if (send(fd, login.data(), login.size(), 0) < 0) fail("cannot send");
    if (poll(&ready, 1, 10'000) <= 0 || recv(fd, buffer, sizeof buffer, 0) <= 0) {
      fail("no answer to the login");
    }
  }

  void send_next(uint64_t due_ns, Outcome* outcome) {
    const uint32_t index = idle_.front();
    idle_.pop_front();
    Connection& one = connections_[index];
    if (options_.udp) {
      const uint16_t id = htons(++one.id);
      std::memcpy(request_.data(), &id, sizeof id);
    }
    one.due_ns = due_ns;
    one.missing = answer_bytes_;
    const ssize_t done = send(one.fd, request_.data(), request_.size(), MSG_NOSIGNAL);
    outcome->errors += done != static_cast<ssize_t>(request_.size());
    ++outcome->sends;
  }

  void receive_all(uint64_t wait_ns, Outcome* outcome) {
    epoll_event events[256];
    const timespec wait{static_cast<time_t>(wait_ns / kNsPerS),
                        static_cast<long>(wait_ns % kNsPerS)};
    const int count = epoll_pwait2(poll_, events, std::size(events), &wait, nullptr);
    for (int i = 0; i < count; ++i) receive(events[i].data.u32, outcome);
  }

  void receive(uint32_t index, Outcome* outcome) {
    Connection& one = connections_[index];
    const ssize_t got = recv(one.fd, buffer_, sizeof buffer_, 0);
    if (got <= 0) {
      if (got < 0 && (errno == EAGAIN || errno == ECONNREFUSED)) return;
      errno = 0;
      fail("the server hangs up");
    }
    ++outcome->receives;
    const auto bytes = static_cast<size_t>(got);
    uint16_t id = 0;
    std::memcpy(&id, buffer_, std::min(bytes, sizeof id));
    if (options_.udp && ntohs(id) != one.id) return;  // it came too late
    if (bytes > one.missing || (options_.udp && bytes != one.missing)) {
      ++outcome->errors;
      if (one.missing == 0) return;
    }
    one.missing -= options_.udp ? one.missing : std::min(bytes, one.missing);
    if (one.missing > 0) return;
    outcome->end_ns = now_ns();
    outcome->latency_ns.push_back(outcome->end_ns - one.due_ns);
    idle_.push_back(index);
  }

  void give_up_old(Outcome* outcome) {
    const uint64_t now = now_ns();
    if (now < next_look_ns_) return;
    next_look_ns_ = now + kPatienceNs / 10;
    for (uint32_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i].missing == 0 || now < connections_[i].due_ns + kPatienceNs) continue;
      connections_[i].missing = 0;
      ++outcome->timeouts;
      idle_.push_back(i);
    }
  }

  const Options options_;
  std::string request_;
  size_t answer_bytes_ = 0;
  int poll_ = -1;
  std::vector<Connection> connections_;
  std::deque<uint32_t> idle_;
  uint64_t next_look_ns_ = 0;
  char buffer_[262144];
};

double cpu_us() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return 1e6 * static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int run(const Options& options) {
  const auto generator = std::make_unique<Generator>(options);
  std::cout << "ready" << std::endl;
  std::string go;
  std::getline(std::cin, go);
  const double before_us = cpu_us();
  const Outcome outcome = generator->run();
  const double used_us = cpu_us() - before_us;
  const double requests = static_cast<double>(outcome.latency_ns.size()) * options.batch;
  const double took_s = static_cast<double>(outcome.end_ns - outcome.begin_ns) / kNsPerS;
  const auto latency_us = [&](double q) { return quantile(outcome.latency_ns, q) / 1000; };
  std::cout << Json{{"requests", requests},
                    {"seconds", took_s},
                    {"requests_per_s", requests / std::max(took_s, options.seconds)},
                    {"p50_us", latency_us(0.5)},
                    {"p99_us", latency_us(0.99)},
                    {"p999_us", latency_us(0.999)},
                    {"client_us", used_us / std::max(requests, 1.0)},
                    {"sends", outcome.sends},
                    {"receives", outcome.receives},
                    {"timeouts", outcome.timeouts},
                    {"errors", outcome.errors}}
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) {
  ebpf::bench::Options options;
  CLI::App app{"Sends requests by a fixed schedule; begins at a line on stdin; JSON on stdout"};
  app.add_option("--address", options.address, "IPv4 address of the server");
  app.add_option("--port", options.port)->required();
  app.add_flag("--udp", options.udp, "DNS over UDP: each query gets an id of its own");
  app.add_option("--request", options.request, "File with one request")->required();
  app.add_option("--login", options.login, "File that answers the server's greeting");
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 15000));
  app.add_option("--batch", options.batch, "Requests sent with one call")
      ->check(CLI::Range(1, 1000));
  app.add_option("--rate", options.rate, "Requests per second; 0: as many as go");
  app.add_option("--seconds", options.seconds);
  CLI11_PARSE(app, argc, argv);
  try {
    return ebpf::bench::run(options);
  } catch (const std::exception& error) {
    std::cerr << "load_generator: " << error.what() << '\n';
    return 1;
  }
}

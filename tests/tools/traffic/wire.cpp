// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "messages.h"
#include "net.h"

namespace traffic {

namespace {

constexpr size_t kPipelineDepth = 16;
constexpr size_t kLargeBytes = 3u << 20;
constexpr uint32_t kSequenceBeforeEnd = 0xffffffffu - 200000;

using Random = std::minstd_rand;

size_t between(Random* random, size_t low, size_t high) {
  return low + (*random)() % (high - low + 1);
}

Way way_of(unsigned connection) { return kWays[connection % std::size(kWays)]; }

std::string padded_request(size_t body_size, size_t padding) {
  return "GET /" + std::to_string(body_size) +
         " HTTP/1.1\r\nHost: wire\r\nX-Padding: " + std::string(padding, 'p') + "\r\n\r\n";
}

std::string answer_to(std::string_view request) {
  const std::string path = http_path(request);
  return http_response(http_body(path.size() < 2 ? 0 : std::stoul(path.substr(1))));
}

// Takes whole messages off what arrives until `count` were seen; false: the peer is done.
class Inbox {
 public:
  Inbox(int fd, Way way, size_t read_size) : fd_(fd), way_(way), buffer_(read_size, '\0') {}

  bool next(std::string* message) {
    size_t size = 0;
    while ((size = http_message_size(bytes_)) == 0) {
      const ssize_t got = receive(fd_, way_, buffer_.data(), buffer_.size());
      if (got == 0) return false;
      bytes_.append(buffer_.data(), static_cast<size_t>(got));
    }
    *message = bytes_.substr(0, size);
    bytes_.erase(0, size);
    return true;
  }

 private:
  int fd_;
  Way way_;
  std::string buffer_;
  std::string bytes_;
};

size_t read_to_end(int fd, Way way, Random* random) {
  std::string buffer(40000, '\0');
  size_t total = 0;
  for (;;) {
    const ssize_t got = receive(fd, way, buffer.data(), between(random, 1, buffer.size()));
    if (got == 0) return total;
    total += static_cast<size_t>(got);
  }
}

// In calls of up to `most` bytes that do not wait: a full socket takes a part of what it is given.
void send_in_parts(int fd, std::string_view bytes, size_t most, Random* random) {
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), between(random, 1, most));
    const ssize_t sent = send(fd, bytes.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      if (poll(&writable, 1, 10000) == 0) fail("the peer does not read on");
    } else if (errno != EINTR) {
      die("send");
    }
  }
}

void set_option(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof(value)) != 0) die(what);
}

// A connection whose own bytes begin shortly before sequence number 2^32. A closed socket may
// be given one in repair mode, and connects with it.
int connect_before_end(const Address& server) {
  const int fd = open_socket(server.family(), SOCK_STREAM);
  set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "TCP_REPAIR");
  set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE, "TCP_REPAIR_QUEUE");
  set_option(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, static_cast<int>(kSequenceBeforeEnd), "TCP_QUEUE_SEQ");
  set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, "TCP_REPAIR off");
  if (connect(fd, server.get(), server.length) != 0) die("connect before the end");
  return fd;
}

// ---- The flows: what each side of connection number `connection` does ----

struct Side {
  int fd;
  unsigned connection;
  unsigned rounds;
};

void serve_messages(Side side) {
  Random random(side.connection + 1);
  Inbox inbox(side.fd, way_of(side.connection), between(&random, 300, 9000));
  std::string request;
  while (inbox.next(&request)) send_all(side.fd, way_of(side.connection), answer_to(request));
}

void ask_one_by_one(Side side) {
  Random random(side.connection + 100);
  Inbox inbox(side.fd, way_of(side.connection + 1), 16384);
  std::string response;
  for (unsigned i = 0; i < side.rounds; i++) {
    send_all(side.fd, way_of(side.connection + 1),
             padded_request(between(&random, 0, 2000), between(&random, 0, 600)));
    if (!inbox.next(&response)) fail("a kept-alive connection was closed");
  }
}

void ask_in_batches(Side side) {
  Random random(side.connection + 200);
  Inbox inbox(side.fd, way_of(side.connection + 2), between(&random, 700, 5000));
  std::string response;
  for (unsigned i = 0; i < side.rounds; i++) {
    for (size_t at = 0; at < kPipelineDepth; at++) {
      send_all(side.fd, way_of(side.connection + 2),
               padded_request(between(&random, 0, 900), between(&random, 0, 300)));
    }
    for (size_t at = 0; at < kPipelineDepth; at++) {
      if (!inbox.next(&response)) fail("a pipelined connection was closed");
    }
  }
}

void serve_after_the_end(Side side) {
  Random random(side.connection + 300);
  read_to_end(side.fd, way_of(side.connection), &random);
  const std::string response = http_response(http_body(between(&random, 1, 30000)));
  send_in_parts(side.fd, response, 6000, &random);
}

void ask_and_half_close(Side side) {
  Random random(side.connection + 400);
  const std::string body = http_body(between(&random, 1, 5000));
  send_in_parts(side.fd,
                "POST / HTTP/1.1\r\nHost: wire\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body,
                1500, &random);
  if (shutdown(side.fd, SHUT_WR) != 0) die("shutdown");
  if (read_to_end(side.fd, way_of(side.connection), &random) == 0) fail("no answer at all");
}

// Both directions at once, with a reader and a writer of their own at each end.
void transfer(Side side, const std::string& head) {
  // A small buffer makes partial sends; a connection in four sends more in a call than fits in.
  const size_t most = side.connection % 4 == 3 ? 400000 : 20000;
  set_option(side.fd, SOL_SOCKET, SO_SNDBUF, 30000, "SO_SNDBUF");
  std::thread reader([side] {
    Random random(side.connection + 500);
    read_to_end(side.fd, way_of(side.connection), &random);
  });
  Random random(side.connection + 600);
  send_in_parts(side.fd, head + http_body(kLargeBytes), most, &random);
  if (shutdown(side.fd, SHUT_WR) != 0) die("shutdown");
  reader.join();
}

void serve_large(Side side) {
  transfer(side, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kLargeBytes) + "\r\n\r\n");
}

void ask_large(Side side) {
  transfer(side, "PUT / HTTP/1.1\r\nContent-Length: " + std::to_string(kLargeBytes) + "\r\n\r\n");
}

struct Flow {
  const char* name;
  unsigned connections;
  unsigned at_once;
  unsigned rounds;
  std::function<void(Side)> server;
  std::function<void(Side)> client;
  bool over_the_end = false;
};

void serve(const Flow& flow, int listener) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < flow.connections; i++) {
    const int fd = accept_from(listener);
    threads.emplace_back([&flow, fd, i] {
      flow.server({fd, i, flow.rounds});
      close(fd);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void ask(const Flow& flow, const Address& server, std::atomic<unsigned>* next) {
  for (unsigned i; (i = (*next)++) < flow.connections;) {
    const int fd =
        flow.over_the_end && i == 0 ? connect_before_end(server) : connect_to(server, SOCK_STREAM);
    flow.client({fd, i, flow.rounds});
    close(fd);
  }
}

// Gives the server's port.
uint16_t run_flow(const Flow& flow, int family) {
  const int listener = listen_on(loopback(family, 0), SOCK_STREAM);
  const Address server = loopback(family, local_address(listener).port());
  std::atomic<unsigned> next{0};
  std::vector<std::thread> threads;
  threads.emplace_back([&] { serve(flow, listener); });
  for (unsigned i = 0; i < flow.at_once; i++) {
    threads.emplace_back([&] { ask(flow, server, &next); });
  }
  for (std::thread& thread : threads) thread.join();
  close(listener);
  return server.port();
}

}  // namespace

void run_wire(const WireOptions& options) {
  const unsigned scale = options.scale;
  const Flow flows[] = {
      {"keep-alive", 4, 2, scale * 175, serve_messages, ask_one_by_one},
      {"pipelined", 4, 2, scale * 18, serve_messages, ask_in_batches},
      {"half-closed", scale * 10, 2, 1, serve_after_the_end, ask_and_half_close},
      {"large", 4, 2, 1, serve_large, ask_large, true},
  };
  std::string report = "{\"process_id\": " + std::to_string(getpid()) + ", \"flows\": [";
  const char* comma = "";
  for (const int family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && !ipv6_works()) continue;
    for (const Flow& flow : flows) {
      const uint16_t port = run_flow(flow, family);
      report += comma;
      report += "{\"name\": \"" + std::string(flow.name) +
                "\", \"ip\": " + (family == AF_INET6 ? "6" : "4") +
                ", \"port\": " + std::to_string(port) +
                ", \"connections\": " + std::to_string(flow.connections) + "}";
      comma = ", ";
    }
  }
  std::printf("%s]}\n", report.c_str());
}

}  // namespace traffic

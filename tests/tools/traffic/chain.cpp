// SPDX-License-Identifier: Apache-2.0
#include "chain.h"

#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "messages.h"

namespace traffic {

namespace {

constexpr std::string_view kIdHeader = "\r\nX-Request-Id: ";
constexpr size_t kReadBytes = 1024;  // messages of up to 3,000 bytes come in pieces

std::string id_of(std::string_view message) {
  const size_t at = message.find(kIdHeader);
  if (at == std::string_view::npos) fail("a message came without its request id");
  const size_t begin = at + kIdHeader.size();
  return std::string(message.substr(begin, message.find('\r', begin) - begin));
}

std::string message(const std::string& first_line, const std::string& id) {
  const std::string body(std::stoul(id) * 37 % 3000, 'b');
  return first_line + std::string(kIdHeader) + id +
         "\r\nHost: chain\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string request_with(const std::string& id) { return message("POST / HTTP/1.1", id); }
std::string response_with(const std::string& id) { return message("HTTP/1.1 200 OK", id); }

// One message, the first bytes of which may be here already; "": the peer is done.
std::string read_message(int fd, std::string* bytes) {
  for (;;) {
    if (const size_t size = http_message_size(*bytes)) {
      std::string whole = bytes->substr(0, size);
      bytes->erase(0, size);
      return whole;
    }
    char buffer[kReadBytes];
    const ssize_t got = receive(fd, Way::kReadWrite, buffer, sizeof(buffer));
    if (got == 0) return "";
    bytes->append(buffer, static_cast<size_t>(got));
  }
}

void expect_answer(int fd, const std::string& id) {
  std::string bytes;
  const std::string response = read_message(fd, &bytes);
  if (response.empty()) fail("the peer closed the connection");
  if (id_of(response) != id) fail("the answer to another request came");
}

void answer_with_ids(int fd) {
  std::string bytes;
  for (std::string request; !(request = read_message(fd, &bytes)).empty();) {
    send_all(fd, Way::kReadWrite, response_with(id_of(request)));
  }
  close(fd);
}

template <typename Handler>
[[noreturn]] void serve_forever(int listener, Handler handler) {
  const timeval forever{0, 0};
  setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
  for (;;) {
    const int fd = accept_from(listener);
    std::thread([handler, fd] { handler(fd); }).detach();
  }
}

void proxy(int client, const Address& first, const Address& second) {
  const int back_ends[] = {connect_to(first, SOCK_STREAM), connect_to(second, SOCK_STREAM)};
  std::string bytes;
  for (std::string request; !(request = read_message(client, &bytes)).empty();) {
    const std::string id = id_of(request);
    const bool at_once = std::stoul(id) % 2 == 0;
    for (const int fd : back_ends) {
      send_all(fd, Way::kReadWrite, request_with(id));
      if (!at_once) expect_answer(fd, id);
    }
    for (const int fd : back_ends) {
      if (at_once) expect_answer(fd, id);
    }
    send_all(client, Way::kReadWrite, response_with(id));
  }
  for (const int fd : back_ends) close(fd);
  close(client);
}

}  // namespace

void ask_with_ids(const Address& server, const ChainOptions& options) {
  std::vector<std::thread> threads;
  for (unsigned connection = 0; connection < options.connections; connection++) {
    threads.emplace_back([&, connection] {
      const int fd = connect_to(server, SOCK_STREAM);
      for (unsigned i = 0; i < options.requests; i++) {
        const std::string id = std::to_string(connection * options.requests + i + 1);
        send_all(fd, Way::kReadWrite, request_with(id));
        expect_answer(fd, id);
      }
      close(fd);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void serve_ids(uint16_t port) {
  const int listener = listen_on(make_address("127.0.0.1", port), SOCK_STREAM);
  std::printf("listening on %u\n", static_cast<unsigned>(local_address(listener).port()));
  std::fflush(stdout);
  serve_forever(listener, answer_with_ids);
}

void run_chain(const ChainOptions& options) {
  int listeners[3];
  Address at[3];
  for (size_t i = 0; i < 3; i++) {
    listeners[i] = listen_on(loopback(AF_INET, 0), SOCK_STREAM);
    at[i] = loopback(AF_INET, local_address(listeners[i]).port());
  }
  std::thread([&] { serve_forever(listeners[0], answer_with_ids); }).detach();
  std::thread([&] { serve_forever(listeners[1], answer_with_ids); }).detach();
  std::thread([&] {
    serve_forever(listeners[2], [&](int fd) { proxy(fd, at[0], at[1]); });
  }).detach();
  ask_with_ids(at[2], options);
  std::printf("{\"process_id\": %d, \"back_ends\": [%u, %u], \"proxy\": %u}\n", getpid(),
              unsigned{at[0].port()}, unsigned{at[1].port()}, unsigned{at[2].port()});
  std::fflush(stdout);
  _exit(0);  // the servers' threads use what is on this stack
}

}  // namespace traffic

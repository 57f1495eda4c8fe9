// SPDX-License-Identifier: Apache-2.0
// ebpf-traffic: real HTTP/1 and DNS traffic between real sockets, for the demo and the tests.
// Needs nothing but a kernel; links statically.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "chain.h"
#include "messages.h"
#include "net.h"
#include "smoke.h"
#include "wire.h"

namespace {

using namespace traffic;

constexpr const char* kUsage =
    "usage: ebpf-traffic smoke [--exchanges N] [--ipv4-only]\n"
    "       ebpf-traffic wire SCALE\n"
    "       ebpf-traffic chain CONNECTIONS REQUESTS\n"
    "       ebpf-traffic ask-with-ids HOST PORT CONNECTIONS REQUESTS\n"
    "       ebpf-traffic serve-ids PORT\n"
    "       ebpf-traffic serve-http PORT          (0: any; prints \"listening on PORT\")\n"
    "       ebpf-traffic get HOST PORT PATH COUNT [keepalive]\n"
    "       ebpf-traffic serve-dns PORT\n"
    "       ebpf-traffic query HOST PORT NAME COUNT\n";

[[noreturn]] void usage(const std::string& what) {
  std::fprintf(stderr, "ebpf-traffic: %s\n%s", what.c_str(), kUsage);
  std::exit(2);
}

unsigned number(const std::string& text, unsigned max) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || text[0] == '-' || value > max) {
    usage("'" + text + "' is no number from 0 to " + std::to_string(max));
  }
  return static_cast<unsigned>(value);
}

void say_listening(int fd) {
  std::printf("listening on %u\n", static_cast<unsigned>(local_address(fd).port()));
  std::fflush(stdout);
}

// Reads on until a whole message stands in `bytes`; false: the peer is done.
bool read_message(int fd, std::string* bytes) {
  while (http_message_size(*bytes) == 0) {
    char buffer[16384];
    const ssize_t got = receive(fd, Way::kReadWrite, buffer, sizeof(buffer));
    if (got == 0) return false;
    bytes->append(buffer, static_cast<size_t>(got));
  }
  return true;
}

void serve_connection(int fd) {
  std::string bytes;
  while (read_message(fd, &bytes)) {
    const std::string request = bytes.substr(0, http_message_size(bytes));
    bytes.erase(0, request.size());
    const std::string body = "ebpf-traffic got your request for " + http_path(request) + "\n";
    send_all(fd, Way::kReadWrite, http_response(body));
    if (request.find("Connection: close") != std::string::npos) break;
  }
  close(fd);
}

[[noreturn]] void serve_http(uint16_t port) {
  const int listener = listen_on(make_address("127.0.0.1", port), SOCK_STREAM);
  say_listening(listener);
  const timeval forever{0, 0};
  setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
  for (;;) {
    const int fd = accept_from(listener);
    std::thread(serve_connection, fd).detach();
  }
}

void get(const Address& server, const std::string& path, unsigned count, bool keep_alive) {
  int fd = -1;
  for (unsigned i = 0; i < count; i++) {
    if (fd < 0) fd = connect_to(server, SOCK_STREAM);
    send_all(fd, Way::kReadWrite, http_request(path, keep_alive));
    std::string bytes;
    if (!read_message(fd, &bytes)) fail("the server closed the connection");
    if (bytes.rfind("HTTP/1.1 200 ", 0) != 0) fail("the server did not answer with 200");
    if (!keep_alive) {
      close(fd);
      fd = -1;
    }
  }
  if (fd >= 0) close(fd);
}

[[noreturn]] void serve_dns(uint16_t port) {
  const int fd = listen_on(make_address("127.0.0.1", port), SOCK_DGRAM);
  say_listening(fd);
  const timeval forever{0, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
  for (;;) {
    char buffer[512];
    Address peer;
    const ssize_t got = receive_from(fd, Way::kRecvSend, buffer, sizeof(buffer), &peer);
    const std::string answer = dns_answer({buffer, static_cast<size_t>(got)});
    if (!answer.empty()) send_to(fd, Way::kRecvSend, answer, peer);
  }
}

void query(const Address& server, const std::string& name, unsigned count) {
  const int fd = connect_to(server, SOCK_DGRAM);
  for (unsigned i = 0; i < count; i++) {
    const std::string question = dns_query(static_cast<uint16_t>(i + 1), name);
    send_all(fd, Way::kRecvSend, question);
    char buffer[512];
    const ssize_t got = receive(fd, Way::kRecvSend, buffer, sizeof(buffer));
    if (!dns_answers(question, {buffer, static_cast<size_t>(got)})) fail("wrong answer");
  }
  close(fd);
}

SmokeOptions smoke_options(const std::vector<std::string>& args) {
  SmokeOptions options;
  for (size_t i = 1; i < args.size(); i++) {
    if (args[i] == "--exchanges" && i + 1 < args.size()) {
      options.exchanges = number(args[++i], 10000);
    } else if (args[i] == "--ipv4-only") {
      options.ipv4_only = true;
    } else {
      usage("smoke has no option '" + args[i] + "'");
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const std::string mode = args.empty() ? "" : args[0];
  const size_t count = args.size();
  signal(SIGPIPE, SIG_IGN);
  if (mode == "smoke") {
    run_smoke(smoke_options(args));
  } else if (mode == "wire" && count == 2) {
    run_wire({number(args[1], 1000)});
  } else if (mode == "chain" && count == 3) {
    run_chain({number(args[1], 1000), number(args[2], 1000000)});
  } else if (mode == "ask-with-ids" && count == 5) {
    ask_with_ids(make_address(args[1], static_cast<uint16_t>(number(args[2], 65535))),
                 {number(args[3], 1000), number(args[4], 1000000)});
  } else if (mode == "serve-ids" && count == 2) {
    serve_ids(static_cast<uint16_t>(number(args[1], 65535)));
  } else if (mode == "serve-http" && count == 2) {
    serve_http(static_cast<uint16_t>(number(args[1], 65535)));
  } else if (mode == "serve-dns" && count == 2) {
    serve_dns(static_cast<uint16_t>(number(args[1], 65535)));
  } else if (mode == "get" && (count == 5 || (count == 6 && args[5] == "keepalive"))) {
    get(make_address(args[1], static_cast<uint16_t>(number(args[2], 65535))), args[3],
        number(args[4], 1000000), count == 6);
  } else if (mode == "query" && count == 5) {
    query(make_address(args[1], static_cast<uint16_t>(number(args[2], 65535))), args[3],
          number(args[4], 1000000));
  } else {
    usage(mode.empty() ? "what to do is missing" : "'" + mode + "' is not used so");
  }
  return 0;
}

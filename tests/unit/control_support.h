// SPDX-License-Identifier: Apache-2.0
// What the tests of the control server share: a producer without a source, and peers of it that
// say whatever a test wants.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "producer/control_server.h"
#include "ring_support.h"

namespace ebpf {

using std::chrono::milliseconds;

struct TempDir {
  TempDir() {
    char name[] = "/tmp/libebpf-control-XXXXXX";
    path = mkdtemp(name);
    chmod(path.c_str(), 0755);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

template <class Condition>
inline bool eventually(Condition&& condition, milliseconds limit = milliseconds(20000)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

// A producer without a source: ring, slots, server, and a thread that is control thread and
// drain thread in one.
struct Producer {
  explicit Producer(const std::string& socket_path, uint32_t max_consumers = 3,
                    const ControlLimits& limits = no_limits())
      : path(socket_path), ring(options(max_consumers)) {
    ControlHandlers handlers;
    handlers.fill_stats = [](ebpf_msg_stats* stats) { stats->kern_emitted = 4711; };
    handlers.fill_offsets = [](ebpf_msg_offsets* offsets) { offsets->cpu_count = 2; };
    handlers.list_programs = [this](std::vector<ebpf_program_row>* rows) {
      for (uint32_t i = 0; i < listed; ++i) rows->push_back({.runs = i});
    };
    handlers.list_maps = [this](std::vector<ebpf_map_row>* rows) {
      for (uint32_t i = 0; i < listed; ++i) rows->push_back({.max_entries = i});
    };
    // A pipe: its reading end sees when the server lets go of the other.
    handlers.count_runs = [this]() -> Result<UniqueFd> {
      if (!counts_runs) return Error{EPERM, "not here"};
      int ends[2];
      if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno_error("pipe2");
      counting.reset(ends[0]);
      return UniqueFd(ends[1]);
    };
    handlers.start = [this]() -> Result<> {
      ++starts;
      return Unit{};
    };
    handlers.stop = []() -> Result<> { return Error{EBUSY, "cannot stop just now"}; };
    auto log = [this](LogLevel, const std::string& line) {
      const std::lock_guard lock(log_mutex);
      logged += line + "\n";
    };
    auto created = ControlServer::create(path, handlers, ring.slots, *ring.writer, log, limits);
    if (!created) {
      error = created.error();
      return;
    }
    server = std::move(*created);
    thread = std::thread([this] {
      while (!stop) {
        server->run_once(5);
        ++runs;
        ring.slots.quiet_point();
      }
    });
  }
  ~Producer() {
    stop = true;
    if (thread.joinable()) thread.join();
  }
  // Of users; what a single connection may do stays bounded.
  static ControlLimits no_limits() {
    ControlLimits limits;
    limits.accepts = limits.user_connections = limits.user_joins =
        limits.user_messages = {1e6, 1e6};
    return limits;
  }
  static RingOptions options(uint32_t max_consumers) {
    RingOptions options;
    options.ring_records = 64;
    options.max_consumers = max_consumers;
    return options;
  }
  std::string log() {
    const std::lock_guard lock(log_mutex);
    return logged;
  }

  std::string path;
  Ring ring;
  std::mutex log_mutex;
  std::string logged;
  Error error;
  std::atomic<int> starts{0};
  uint32_t listed = 40;  // programs and maps
  bool counts_runs = true;
  UniqueFd counting;
  std::atomic<uint64_t> runs{0};
  std::atomic<bool> stop{false};
  std::unique_ptr<ControlServer> server;
  std::thread thread;
};

struct Reply {
  ssize_t bytes = -1;  // 0: the connection has ended
  std::vector<UniqueFd> descriptors;
  alignas(8) char data[sizeof(ebpf_msg_stats) + 8] = {};

  const ebpf_msg_header& header() const { return *reinterpret_cast<const ebpf_msg_header*>(data); }
  template <class Message>
  const Message* as(ebpf_msg_type type) const {
    const bool fits = bytes == sizeof(Message) && header().magic == EBPF_MSG_MAGIC &&
                      header().version == EBPF_PROTOCOL_VERSION && header().type == type &&
                      header().length_bytes == sizeof(Message);
    return fits ? reinterpret_cast<const Message*>(data) : nullptr;
  }
  int error() const {
    const auto* message = as<ebpf_msg_error>(EBPF_MSG_ERROR);
    return message ? message->error : 0;
  }
  std::string text() const {
    const auto* message = as<ebpf_msg_error>(EBPF_MSG_ERROR);
    return message ? message->text : "";
  }
};

struct Client {
  explicit Client(const std::string& path) : fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    connected =
        connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const timeval limit{3, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  }

  bool send_bytes(const void* data, size_t bytes) const {
    return send(fd.get(), data, bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
  }
  bool send_header(uint16_t type) const {
    const ebpf_msg_header header{EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, type,
                                 sizeof(ebpf_msg_header), 0};
    return send_bytes(&header, sizeof(header));
  }
  static ebpf_msg_join join_message() {
    ebpf_msg_join join{};
    join.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_JOIN, sizeof(join), 0};
    join.layout_version = EBPF_RING_LAYOUT_VERSION;
    std::strcpy(join.name, "te\x1bst");
    return join;
  }
  Reply receive() const {
    Reply reply;
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
    iovec part{reply.data, sizeof(reply.data)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    reply.bytes = recvmsg(fd.get(), &message, MSG_CMSG_CLOEXEC);
    for (cmsghdr* c = reply.bytes >= 0 ? CMSG_FIRSTHDR(&message) : nullptr; c;
         c = CMSG_NXTHDR(&message, c)) {
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int received;
        std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        reply.descriptors.emplace_back(received);
      }
    }
    return reply;
  }
  Reply ask(uint16_t type) const {
    send_header(type);
    return receive();
  }
  Reply ask_page(uint16_t type, uint32_t from = 0) const {
    ebpf_msg_get_page request{};
    request.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, type, sizeof(request), 0};
    request.from = from;
    send_bytes(&request, sizeof(request));
    return receive();
  }
  Reply evict(uint32_t id) const {
    ebpf_msg_evict request{};
    request.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_EVICT, sizeof(request), 0};
    request.consumer_id = id;
    send_bytes(&request, sizeof(request));
    return receive();
  }
  Reply join() const {
    const ebpf_msg_join message = join_message();
    send_bytes(&message, sizeof(message));
    return receive();
  }
  bool ended() const { return receive().bytes == 0; }

  UniqueFd fd;
  bool connected = false;
};

class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    producer_ = std::make_unique<Producer>(path_);
    ASSERT_NE(producer_->server, nullptr) << producer_->error.message;
  }
  ConsumerSlots& slots() { return producer_->ring.slots; }

  TempDir dir_;
  std::string path_ = dir_.path + "/run/producer.sock";
  std::unique_ptr<Producer> producer_;
};

}  // namespace ebpf

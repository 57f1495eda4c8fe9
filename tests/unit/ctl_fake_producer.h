// SPDX-License-Identifier: Apache-2.0
// A producer's end of the control socket that answers what a test tells it to, so that
// answers can be tried which no real producer gives.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "libebpf/control.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::test {

using Packet = std::vector<uint8_t>;

template <class T>
Packet to_packet(const T& message) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
  return Packet(bytes, bytes + sizeof(message));
}

// A folder of its own under $TMPDIR or /tmp, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = "/tmp/ebpfctl-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data()) ? pattern : "";
  }
  ~TemporaryFolder() {
    ::unlink(socket_path().c_str());
    ::rmdir(path_.c_str());
  }
  std::string socket_path() const { return path_ + "/producer.sock"; }

 private:
  std::string path_;
};

class FakeProducer {
 public:
  // What to send for each request: no packets at all means silence.
  using Answer = std::function<std::vector<Packet>(const Packet& request)>;

  // With close_at_once it reads no request: it sends `parting`, if any, and hangs up.
  explicit FakeProducer(Answer answer, bool close_at_once = false, Packet parting = {})
      : answer_(std::move(answer)), close_at_once_(close_at_once), parting_(std::move(parting)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", path().c_str());
    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(listener_.get(), 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeProducer() {
    stop_ = true;
    thread_.join();
  }
  std::string path() const { return folder_.socket_path(); }

 private:
  bool readable(int fd) const {
    pollfd poll_fd{fd, POLLIN, 0};
    return ::poll(&poll_fd, 1, 5) > 0;
  }

  void serve() {
    UniqueFd connection;
    while (!stop_) {
      if (readable(listener_.get())) {
        connection.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (close_at_once_) {
          if (!parting_.empty()) {
            ::send(connection.get(), parting_.data(), parting_.size(), MSG_NOSIGNAL);
          }
          connection.reset();
        }
      }
      if (!connection || !readable(connection.get())) continue;
      Packet request(4096);
      const ssize_t got = ::recv(connection.get(), request.data(), request.size(), 0);
      if (got <= 0) {
        connection.reset();
        continue;
      }
      request.resize(static_cast<size_t>(got));
      for (const Packet& packet : answer_(request)) {
        EXPECT_EQ(::send(connection.get(), packet.data(), packet.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(packet.size()));
      }
    }
  }

  TemporaryFolder folder_;
  Answer answer_;
  bool close_at_once_;
  Packet parting_;
  UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Always the same answer.
inline FakeProducer::Answer always(Packet packet) {
  return [packet = std::move(packet)](const Packet&) { return std::vector<Packet>{packet}; };
}

inline FakeProducer::Answer silence() {
  return [](const Packet&) { return std::vector<Packet>{}; };
}

}  // namespace ebpf::test

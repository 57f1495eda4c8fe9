// SPDX-License-Identifier: Apache-2.0
// A producer in a process of its own: real ring, real slots, real control server; it writes
// when it is told to, and can be killed.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "producer/control_server.h"
#include "tests/unit/consumer_support.h"

namespace ebpf {

// For what must happen, on a machine that has other things to do.
constexpr uint64_t kPatienceUs = 20'000'000;

inline uint64_t now_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

// A folder that is gone after the test.
class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/ebpf-consumer-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const char* file) const { return path_ + "/" + file; }

 private:
  std::string path_;
};

class TestProducer {
 public:
  explicit TestProducer(const std::string& path, const RingOptions& options = small_options(),
                        uint64_t records_first = 0) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid_ = fork();
    if (pid_ == 0) {
      ::close(pair[0]);
      _exit(run(pair[1], path, options, records_first));
    }
    ::close(pair[1]);
    commands_ = UniqueFd(pair[0]);
    EXPECT_EQ(answer(), 1u) << "the producer did not start";
  }
  ~TestProducer() { kill9(); }
  TestProducer(const TestProducer&) = delete;
  TestProducer& operator=(const TestProducer&) = delete;

  // Returns when everything is published.
  void write(uint64_t count, uint32_t lane = 0) { command({Command::kWrite, lane, count, 0}); }
  // Returns at once; the producer writes after the delay.
  void write_later(uint64_t count, uint64_t delay_us) {
    send_command({Command::kWrite, 0, count, delay_us});
  }
  uint64_t wait_written() { return answer(); }
  void gap(uint64_t count) { command({Command::kGap, 0, count, 0}); }
  uint64_t consumers() { return command({Command::kConsumers, 0, 0, 0}); }
  // The ring is marked as ended, the server goes on.
  void end_ring() { command({Command::kEndRing, 0, 0, 0}); }
  // An orderly end.
  void quit() {
    send_command({Command::kQuit, 0, 0, 0});
    reap();
  }
  void kill9() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    reap();
  }
  void stop() { kill(pid_, SIGSTOP); }
  void cont() { kill(pid_, SIGCONT); }

 private:
  struct Command {
    enum Kind { kWrite, kGap, kConsumers, kEndRing, kQuit } kind;
    uint32_t lane;
    uint64_t count;
    uint64_t delay_us;
  };

  void reap() {
    int status;
    waitpid(pid_, &status, 0);
    pid_ = -1;
  }
  void send_command(const Command& c) {
    EXPECT_EQ(send(commands_.get(), &c, sizeof c, MSG_NOSIGNAL), ssize_t{sizeof c});
  }
  uint64_t answer() {
    uint64_t value = 0;
    ssize_t n;
    do {
      n = recv(commands_.get(), &value, sizeof value, 0);
    } while (n < 0 && errno == EINTR);
    EXPECT_EQ(n, ssize_t{sizeof value});
    return value;
  }
  uint64_t command(const Command& c) {
    send_command(c);
    return answer();
  }

  static int run(int commands, const std::string& path, const RingOptions& options,
                 uint64_t records_first) {
    TestRing ring(options);
    if (!ring.writer) return 1;
    ring.write(0, records_first);
    ControlHandlers handlers;
    handlers.fill_stats = [](ebpf_msg_stats*) {};
    handlers.fill_offsets = [](ebpf_msg_offsets*) {};
    handlers.start = handlers.stop = [] { return Result<>(Unit{}); };
    auto server = ControlServer::create(path, handlers, ring.slots, *ring.writer,
                                        [](LogLevel, const std::string&) {});
    if (!server) {
      fprintf(stderr, "%s\n", server.error().message.c_str());
      return 1;
    }
    const uint64_t ready = 1;
    send(commands, &ready, sizeof ready, MSG_NOSIGNAL);
    for (;;) {
      pollfd fds[2] = {{commands, POLLIN, 0}, {(*server)->epoll_fd(), POLLIN, 0}};
      const bool pending = ring.slots.wake_sleepers(now_us());
      ::poll(fds, 2, pending ? 0 : 20);
      (*server)->run_once(0);
      ring.slots.quiet_point();
      Command c;
      const ssize_t n = recv(commands, &c, sizeof c, MSG_DONTWAIT);
      if (n == 0) return 0;
      if (n != sizeof c) continue;
      if (c.kind == Command::kQuit) {
        ring.writer->end();
        return 0;
      }
      const uint64_t value = execute(c, ring);
      send(commands, &value, sizeof value, MSG_NOSIGNAL);
    }
  }

  static uint64_t execute(const Command& c, TestRing& ring) {
    if (c.delay_us > 0) usleep(static_cast<useconds_t>(c.delay_us));
    if (c.kind == Command::kConsumers) return ring.slots.count();
    if (c.kind == Command::kEndRing) ring.writer->end();
    if (c.kind == Command::kGap) ring.writer->append_gap(c.lane, EBPF_GAP_PERF_FULL, c.count, 1);
    if (c.kind == Command::kWrite) ring.write(c.lane, c.count);
    ring.writer->publish(c.lane);
    ring.slots.wake_sleepers(now_us());
    return 0;
  }

  pid_t pid_ = -1;
  UniqueFd commands_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// System calls that fail, one after the other, and descriptors that run out: whoever opens a
// consumer or starts a producer gets a clear line, and nothing is left half done.
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

// Which call of a kind fails; the linker leads them here (--wrap).
struct Plan {
  const char* call = "";
  uint64_t left = 0;  // calls of it that still succeed
  int error = 0;
  bool struck = false;
};
Plan plan;

bool strikes(const char* call) {
  if (plan.error == 0 || std::strcmp(plan.call, call) != 0) return false;
  if (plan.left > 0) {
    --plan.left;
    return false;
  }
  if (plan.struck) return false;
  plan.struck = true;
  errno = plan.error;
  return true;
}

}  // namespace
}  // namespace ebpf::fault

// The names are the linker's.
#define EBPF_WRAP(type, name, failure, parameters, arguments)                 \
  extern "C" type __real_##name parameters;                                   \
  extern "C" type __wrap_##name parameters;                                   \
  extern "C" type __wrap_##name parameters {                                  \
    return ebpf::fault::strikes(#name) ? (failure) : __real_##name arguments; \
  }

// NOLINTBEGIN(bugprone-reserved-identifier)
EBPF_WRAP(int, memfd_create, -1, (const char* name, unsigned flags), (name, flags))
EBPF_WRAP(int, ftruncate, -1, (int fd, off_t bytes), (fd, bytes))
EBPF_WRAP(void*, mmap, MAP_FAILED, (void* at, size_t n, int prot, int flags, int fd, off_t from),
          (at, n, prot, flags, fd, from))
EBPF_WRAP(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
EBPF_WRAP(int, fallocate, -1, (int fd, int mode, off_t from, off_t n), (fd, mode, from, n))
EBPF_WRAP(int, socket, -1, (int family, int type, int protocol), (family, type, protocol))
EBPF_WRAP(int, connect, -1, (int fd, const sockaddr* address, socklen_t n), (fd, address, n))
EBPF_WRAP(int, bind, -1, (int fd, const sockaddr* address, socklen_t n), (fd, address, n))
EBPF_WRAP(int, listen, -1, (int fd, int backlog), (fd, backlog))
EBPF_WRAP(ssize_t, send, -1, (int fd, const void* p, size_t n, int flags), (fd, p, n, flags))
EBPF_WRAP(ssize_t, recvmsg, -1, (int fd, msghdr* message, int flags), (fd, message, flags))
EBPF_WRAP(int, epoll_create1, -1, (int flags), (flags))
EBPF_WRAP(int, epoll_ctl, -1, (int ep, int op, int fd, epoll_event* event), (ep, op, fd, event))
EBPF_WRAP(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
EBPF_WRAP(int, fstat, -1, (int fd, struct stat* status), (fd, status))
// NOLINTEND(bugprone-reserved-identifier)

namespace ebpf::fault {
namespace {

constexpr const char* kCalls[] = {"memfd_create", "ftruncate",      "mmap",    "fchmod",
                                  "fallocate",    "socket",         "connect", "bind",
                                  "listen",       "send",           "recvmsg", "epoll_create1",
                                  "epoll_ctl",    "timerfd_create", "fstat"};
constexpr int kErrors[] = {ENOMEM, EMFILE, EACCES};
constexpr uint64_t kCallsMax = 16;

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

uint64_t mappings_of_memfds() {
  std::unique_ptr<FILE, int (*)(FILE*)> maps(fopen("/proc/self/maps", "re"), fclose);
  char line[512];
  uint64_t count = 0;
  while (fgets(line, sizeof line, maps.get()) != nullptr) {
    count += std::strstr(line, "memfd:") != nullptr ? 1 : 0;
  }
  return count;
}

bool clear_line(const std::string& line) {
  return line.size() > 10 && line.find('\n') == std::string::npos;
}

// Calls attempt() with the first, second, ... call of each kind failing, until there is none
// left to fail. Returns how many failures struck.
template <class Attempt>
uint64_t fail_each_call(Attempt&& attempt) {
  uint64_t struck = 0;
  for (const char* call : kCalls) {
    for (const int error : kErrors) {
      for (uint64_t nth = 0; nth < kCallsMax; ++nth) {
        SCOPED_TRACE(std::string(call) + " number " + std::to_string(nth + 1) + " fails with " +
                     std::strerror(error));
        const size_t descriptors = open_descriptors();
        const uint64_t mappings = mappings_of_memfds();
        plan = {call, nth, error, false};
        attempt(error);
        const bool reached = plan.struck;
        plan = {};
        EXPECT_EQ(open_descriptors(), descriptors);
        EXPECT_EQ(mappings_of_memfds(), mappings);
        if (!reached || testing::Test::HasFailure()) break;
        ++struck;
      }
    }
  }
  return struck;
}

ebpf_consumer_options options_for(const std::string& path) {
  ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
  options.socket_path = path.c_str();
  options.on_record = [](const ebpf_record*, uint32_t, void*) { return 0; };
  return options;
}

TEST(CallFailure, LeavesNoConsumerHalfOpen) {
  Stage stage;
  const ebpf_consumer_options options = options_for(stage.path);
  const uint64_t struck = fail_each_call([&](int) {
    ebpf_consumer* consumer = nullptr;
    const int result = ebpf_consumer_open(&consumer, &options);
    const std::string line = result < 0 ? ebpf_last_error() : "";
    plan.error = 0;
    EXPECT_EQ(result == 0, consumer != nullptr);
    if (result < 0) {
      EXPECT_TRUE(plan.struck) << line;
      EXPECT_TRUE(clear_line(line)) << line;
    } else {
      EXPECT_FALSE(plan.struck) << "a failure that it did not notice";
      EXPECT_GE(ebpf_consumer_poll(consumer, 0), 0);
    }
    ebpf_consumer_close(consumer);
    EXPECT_TRUE(stage.wait_attached(0, 1'000'000)) << "a slot is not free: " << line;
  });
  EXPECT_GT(struck, 10u);
  const Process witness = stage.witness(0);
  stage.publish(100);
  stage.wait_all_told(0);
}

// Starts one in this process and lets a consumer join, if it gets so far.
std::string start_producer(const std::string& path) {
  const RingOptions options = small_options();
  ConsumerSlots slots(options.max_consumers, options.lane_count, options.epoch);
  auto writer = RingWriter::create(options, slots);
  if (!writer) return writer.error().message;
  auto server = ControlServer::create(path, ControlHandlers{}, slots, **writer,
                                      [](LogLevel, const std::string&) {});
  if (!server) return server.error().message;
  return "";
}

TEST(CallFailure, LeavesNoProducerHalfStarted) {
  TempFolder folder;
  const std::string path = folder / "producer.sock";
  const uint64_t struck = fail_each_call([&](int error) {
    const std::string line = start_producer(path);
    plan.error = 0;
    if (!line.empty()) {
      EXPECT_TRUE(plan.struck) << line;
      EXPECT_TRUE(clear_line(line)) << line;
      EXPECT_NE(line.find(std::strerror(error)), std::string::npos) << line;
    }
    EXPECT_FALSE(std::filesystem::exists(path)) << "it left its socket behind";
  });
  EXPECT_GT(struck, 10u);
}

// On the producer's side of an attachment.
TEST(CallFailure, LeavesNoSlotHalfTaken) {
  TestRing ring;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd ours(pair[0]);
  const UniqueFd theirs(pair[1]);
  const uint64_t nothing[EBPF_LANES_MAX] = {};
  const uint64_t struck = fail_each_call([&](int error) {
    auto attached = ring.slots.attach(ours.get(), ConsumerInfo{});
    plan.error = 0;
    if (attached) {
      ring.slots.detach(attached->id, nothing);
    } else {
      EXPECT_TRUE(clear_line(attached.error().message)) << attached.error().message;
      EXPECT_NE(attached.error().message.find(std::strerror(error)), std::string::npos)
          << attached.error().message;
    }
    ring.slots.quiet_point();
    ring.slots.quiet_point();
    ring.slots.collect();
    EXPECT_EQ(ring.slots.count(), 0u);
  });
  EXPECT_GT(struck, 2u);
}

// ---- descriptors ------------------------------------------------------------------------

void limit_descriptors(rlim_t count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = count;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// 0: it works, 1: refused in a clear line, others: what is wrong.
int open_with(const std::string& path, rlim_t count) {
  const ebpf_consumer_options options = options_for(path);
  const size_t descriptors = open_descriptors();
  limit_descriptors(count);
  ebpf_consumer* consumer = nullptr;
  const int result = ebpf_consumer_open(&consumer, &options);
  const std::string line = ebpf_last_error();
  const bool works = result == 0 && ebpf_consumer_poll(consumer, 0) >= 0;
  ebpf_consumer_close(consumer);
  limit_descriptors(256);
  if (open_descriptors() != descriptors) return 2;
  if (works) return 0;
  return result < 0 && clear_line(line) ? 1 : 3;
}

TEST(DescriptorLimit, IsSurvivedByAConsumerFromZeroUp) {
  Stage stage;
  bool opened = false;
  for (rlim_t count = 0; count < 48; ++count) {
    SCOPED_TRACE(count);
    const int result = Process([&] { return open_with(stage.path, count); }).wait();
    if (opened) {
      EXPECT_EQ(result, 0);
    } else {
      EXPECT_LE(result, 1);
    }
    opened = opened || result == 0;
    EXPECT_TRUE(stage.wait_attached(0, 1'000'000));
  }
  EXPECT_TRUE(opened);
}

int start_with(const std::string& path, rlim_t count) {
  const size_t descriptors = open_descriptors();
  limit_descriptors(count);
  const std::string line = start_producer(path);
  limit_descriptors(256);
  if (open_descriptors() != descriptors) return 2;
  if (std::filesystem::exists(path)) return 4;
  if (line.empty()) return 0;
  return clear_line(line) ? 1 : 3;
}

TEST(DescriptorLimit, IsSurvivedByAProducerFromZeroUp) {
  TempFolder folder;
  const std::string path = folder / "producer.sock";
  bool started = false;
  for (rlim_t count = 0; count < 48; ++count) {
    SCOPED_TRACE(count);
    const int result = Process([&] { return start_with(path, count); }).wait();
    if (started) {
      EXPECT_EQ(result, 0);
    } else {
      EXPECT_LE(result, 1);
    }
    started = started || result == 0;
  }
  EXPECT_TRUE(started);
}

}  // namespace
}  // namespace ebpf::fault

// SPDX-License-Identifier: Apache-2.0
#include "trace_workload.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "clock.h"

namespace ebpf::bench {
namespace {

constexpr uid_t kNobody =
    65534;  // getuid() of root gives 0, which looks like a call without effect
constexpr uint32_t kChunksMax = 4096;

struct Order {
  Work work;
  uint32_t chunks;
  uint32_t repeats;
  long pause_us;
};

bool send_all(int fd, const void* bytes, size_t count) {
  return send(fd, bytes, count, MSG_NOSIGNAL) == static_cast<ssize_t>(count);
}

bool receive_all(int fd, void* to, size_t count) {
  return recv(fd, to, count, MSG_WAITALL) == static_cast<ssize_t>(count);
}

// The child's side.
class Worker {
 public:
  explicit Worker(int link) : link_(link) {}

  [[noreturn]] void serve() {
    if (!prepare()) _exit(1);
    Order order;
    while (receive_all(link_, &order, sizeof order)) {
      std::vector<double> took(order.chunks);
      for (double& ns : took) {
        ns = run_chunk(order);
        if (order.pause_us > 0) sleep_us(order.pause_us);
      }
      if (!send_all(link_, took.data(), took.size() * sizeof took[0])) break;
    }
    _exit(0);
  }

 private:
  bool prepare() {
    request_ = "POST /bench HTTP/1.1\r\nHost: localhost\r\nContent-Length: 440\r\n\r\n";
    request_.resize(kWorkBytes, 'x');
    null_ = open("/dev/null", O_WRONLY | O_CLOEXEC);
    file_ = memfd_create("bench", MFD_CLOEXEC);
    return null_ >= 0 && file_ >= 0 && connect_pair() && setresuid(kNobody, kNobody, kNobody) == 0;
  }

  bool connect_pair() {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* name = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener, name, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, name, &size) != 0) {
      return false;
    }
    out_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(out_, name, size) != 0) return false;
    in_ = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    const int on = 1;
    setsockopt(out_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // The system's own choice may pace what is sent, by timers.
    setsockopt(out_, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    close(listener);
    return in_ >= 0;
  }

  double run_chunk(const Order& order) {
    if (order.work == Work::kWriteFile) lseek(file_, 0, SEEK_SET);
    const uint64_t begin = thread_cpu_ns();
    for (uint32_t i = 0; i < order.repeats; ++i) once(order.work);
    return static_cast<double>(thread_cpu_ns() - begin) / order.repeats;
  }

  void once(Work work) {
    char room[kWorkBytes];
    ssize_t moved = kWorkBytes;
    switch (work) {
      case Work::kPair:
        moved = send(out_, request_.data(), kWorkBytes, 0);
        if (moved == kWorkBytes) moved = recv(in_, room, sizeof room, 0);
        break;
      case Work::kWriteNull:
        moved = write(null_, request_.data(), kWorkBytes);
        break;
      case Work::kWriteFile:
        moved = write(file_, request_.data(), kWorkBytes);
        break;
      case Work::kGetuid:
        syscall(SYS_getuid);
        break;
    }
    if (moved != kWorkBytes) _exit(2);
  }

  int link_;
  int null_ = -1;
  int file_ = -1;
  int out_ = -1;
  int in_ = -1;
  std::string request_;
};

}  // namespace

Result<Workload> Workload::start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return errno_error("cannot make a socket pair");
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return errno_error("cannot fork");
  if (pid == 0) {
    ours.reset();
    Worker(theirs.get()).serve();
  }
  return Workload(pid, std::move(ours));
}

Workload::~Workload() {
  if (link_.get() < 0) return;
  link_.reset();
  waitpid(pid_, nullptr, 0);
}

Result<std::vector<double>> Workload::run(Work work, uint32_t chunks, uint32_t repeats,
                                          long pause_us) {
  const Order order{work, std::min(chunks, kChunksMax), repeats, pause_us};
  std::vector<double> took(order.chunks);
  if (!send_all(link_.get(), &order, sizeof order) ||
      !receive_all(link_.get(), took.data(), took.size() * sizeof took[0])) {
    return Error{EPIPE, "the traced process ended"};
  }
  return took;
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// The consumer: attached over the control socket, asleep whenever it has read everything.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <new>

#include "clock.h"
#include "drain_generator.h"
#include "drain_rig.h"
#include "libebpf/consumer.h"

namespace ebpf::bench {
namespace {

constexpr size_t kLatenciesMax = 1'000'000;
constexpr int kPollMs = 100;
constexpr uint64_t kAttachTimeoutNs = 10'000'000'000;

}  // namespace

struct ConsumerProcess::Shared {
  std::atomic<int> attached;  // 1, or a negative errno
  std::atomic<bool> stop;
  bool keep_latencies;
  uint64_t next_number;
  Seen seen;
  uint32_t latencies[kLatenciesMax];
};

namespace {

// The generator counts from 0 in each storm; what is lost leaves a hole.
template <class Shared>
int look_at(const ebpf_record* record, uint32_t, void* user) {
  auto& shared = *static_cast<Shared*>(user);
  const auto* event = reinterpret_cast<const generated*>(record + 1);
  const bool is_right = event->number == record->data.cap_seq &&
                        record->data.cap_len >= sizeof(generated) &&
                        (event->number >= shared.next_number || event->number == 0);
  if (!is_right) ++shared.seen.wrong;
  shared.next_number = event->number + 1;
  if (!shared.keep_latencies || shared.seen.latency_count >= kLatenciesMax) return 0;
  const uint64_t took_ns = now_ns() - event->clock_ns;
  shared.latencies[shared.seen.latency_count++] =
      static_cast<uint32_t>(std::min<uint64_t>(took_ns, UINT32_MAX));
  return 0;
}

}  // namespace

void ConsumerProcess::serve(Shared& shared, const std::string& socket_path) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ebpf_consumer_options asked = EBPF_CONSUMER_OPTIONS_INIT;
  asked.socket_path = socket_path.c_str();
  asked.flags = EBPF_NO_REATTACH;
  asked.name = "drain_bench";
  asked.on_record = look_at<Shared>;
  asked.user = &shared;
  ebpf_consumer* consumer = nullptr;
  const int opened = ebpf_consumer_open(&consumer, &asked);
  shared.attached.store(opened < 0 ? opened : 1);
  if (opened < 0) _exit(1);
  struct ebpf_consumer_stats stats {};
  int polled = 0;
  do {
    polled = ebpf_consumer_poll(consumer, kPollMs);
    stats.size = sizeof stats;
    ebpf_consumer_stats(consumer, &stats);
  } while (polled >= 0 && !(shared.stop.load() && polled == 0 && stats.unread == 0));
  shared.seen.delivered = stats.delivered;
  shared.seen.lapped = stats.lost;
  shared.seen.upstream_lost = stats.upstream_lost;
  ebpf_consumer_close(consumer);
  _exit(polled < 0 ? 1 : 0);
}

Result<std::unique_ptr<ConsumerProcess>> ConsumerProcess::start(const std::string& socket_path,
                                                                bool keep_latencies) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno_error("cannot share memory");
  std::unique_ptr<ConsumerProcess> consumer(new ConsumerProcess);
  consumer->shared_ = new (memory) Shared;
  Shared& shared = *consumer->shared_;
  shared.attached.store(0);
  shared.stop.store(false);
  shared.keep_latencies = keep_latencies;
  shared.next_number = 0;
  shared.seen = {};
  consumer->pid_ = fork();
  if (consumer->pid_ < 0) return errno_error("cannot fork");
  if (consumer->pid_ == 0) serve(shared, socket_path);
  const uint64_t until = now_ns() + kAttachTimeoutNs;
  while (shared.attached.load() == 0 && now_ns() < until) sleep_us(200);
  if (shared.attached.load() != 1) {
    return Error{-shared.attached.load(), "the consumer cannot attach"};
  }
  return consumer;
}

Result<Seen> ConsumerProcess::finish() {
  shared_->stop.store(true);
  int status = 0;
  const bool ended = waitpid(pid_, &status, 0) == pid_;
  pid_ = -1;
  if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error{EIO, "the consumer failed"};
  }
  return shared_->seen;
}

std::vector<uint32_t> ConsumerProcess::latencies() const {
  return {shared_->latencies, shared_->latencies + shared_->seen.latency_count};
}

ConsumerProcess::~ConsumerProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
}

}  // namespace ebpf::bench

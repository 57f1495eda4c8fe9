// SPDX-License-Identifier: Apache-2.0
// The producer: the daemon itself, started as usual.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "clock.h"
#include "consumer/control_client.h"
#include "drain_rig.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::bench {
namespace {

constexpr int kStartMs = 20'000;
constexpr uint64_t kSettleTimeoutNs = 10'000'000'000;

std::string own_directory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

std::vector<std::string> arguments_of(const RigOptions& options, const std::string& socket_path) {
  std::vector<std::string> arguments = {own_directory() + "/ebpf-producer",
                                        "--socket",
                                        socket_path,
                                        "--transport",
                                        options.transport,
                                        "--cap-len",
                                        std::to_string(options.bytes)};
  if (options.low_latency) arguments.emplace_back("--low-latency");
  if (options.generator) {
    for (const char* each : {"--attach", "raw", "--bpf-file", EBPF_GENERATOR_OBJECT}) {
      arguments.emplace_back(each);
    }
  }
  arguments.insert(arguments.end(), options.more.begin(), options.more.end());
  return arguments;
}

[[noreturn]] void become(const std::vector<std::string>& arguments, int out) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& each : arguments) words.push_back(const_cast<char*>(each.c_str()));
  words.push_back(nullptr);
  execv(words[0], words.data());
  _exit(127);
}

}  // namespace

Result<std::unique_ptr<ProducerProcess>> ProducerProcess::start(const RigOptions& options) {
  std::unique_ptr<ProducerProcess> producer(new ProducerProcess);
  producer->socket_path_ = options.directory + "/producer.sock";
  const auto arguments = arguments_of(options, producer->socket_path_);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("cannot make a pipe");
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  producer->pid_ = fork();
  if (producer->pid_ < 0) return errno_error("cannot fork");
  if (producer->pid_ == 0) {
    if (options.one_cpu) pin_to(Cpu::kFirst);
    become(arguments, in.get());
  }
  in.reset();
  if (auto ready = producer->wait_until_ready(out.get()); !ready) return ready.error();
  // The thread that is not the first one.
  const std::string tasks = "/proc/" + std::to_string(producer->pid_) + "/task";
  for (const auto& each : std::filesystem::directory_iterator(tasks)) {
    const auto thread = static_cast<pid_t>(std::stol(each.path().filename().string()));
    if (thread != producer->pid_) producer->drain_ = thread;
  }
  return producer;
}

Result<> ProducerProcess::wait_until_ready(int out) {
  std::string said;
  pollfd readable = {out, POLLIN, 0};
  while (said.find("ready: ") == std::string::npos) {
    char room[4096];
    const ssize_t count = poll(&readable, 1, kStartMs) > 0 ? read(out, room, sizeof room) : 0;
    if (count <= 0) return Error{EIO, "ebpf-producer does not start: " + said};
    said.append(room, static_cast<size_t>(count));
  }
  return Unit{};
}

ProducerProcess::~ProducerProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

Result<ebpf_msg_stats> ProducerProcess::stats() const {
  auto client = ControlClient::connect(socket_path_);
  if (!client) return client.error();
  return client->get_stats();
}

Result<ebpf_msg_stats> ProducerProcess::settled_stats() const {
  const uint64_t until = now_ns() + kSettleTimeoutNs;
  while (true) {
    auto stats = this->stats();
    if (!stats) return stats;
    if (stats->kern_emitted ==
        stats->kern_lost + stats->user_enqueue_count + stats->user_enqueue_lost) {
      return stats;
    }
    if (now_ns() > until) return Error{EPROTO, "emitted, published and lost do not add up"};
    sleep_us(20'000);
  }
}

// "cpu_ns waited_ns runs"
ThreadTime ProducerProcess::time_of(pid_t thread) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(thread) +
                     "/schedstat");
  ThreadTime time;
  uint64_t waited_ns = 0;
  file >> time.cpu_ns >> waited_ns >> time.runs;
  return time;
}

ProducerTime ProducerProcess::time() const { return {time_of(pid_), time_of(drain_)}; }

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// ebpf-producer: the daemon.
#include <sys/signalfd.h>

#include <csignal>
#include <cstdio>

#include "libebpf/detail/escape.h"
#include "producer/daemon_log.h"
#include "producer/options.h"
#include "producer/producer.h"

namespace {

int exit_code_of(const ebpf::StartError& why) {
  switch (why.stage) {
    case ebpf::StartStage::kKernel:
      return ebpf::kExitNoKernel;
    case ebpf::StartStage::kSocket:
      return why.error.code == EADDRINUSE ? ebpf::kExitSocketBusy : ebpf::kExitFailure;
    case ebpf::StartStage::kOptions:
      break;
  }
  return ebpf::kExitFailure;
}

// SIGINT and SIGTERM become a readable descriptor; blocked before any thread exists, so
// that every thread inherits it.
ebpf::UniqueFd take_over_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return ebpf::UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

int main(int argc, char** argv) {
  ebpf::CommandLine line;
  if (const auto code = ebpf::parse_command_line(argc, argv, &line)) return *code;
  auto log = ebpf::open_daemon_log(line.log_file, line.verbose);
  if (!log) {
    std::fprintf(stderr, "ebpf-producer: %s\n", ebpf::one_line(log.error().message).c_str());
    return ebpf::kExitFailure;
  }
  const ebpf::UniqueFd signals = take_over_signals();
  if (!signals) {
    std::fprintf(stderr, "ebpf-producer: signalfd: %s\n", std::strerror(errno));
    return ebpf::kExitFailure;
  }
  ebpf::StartError why{};
  auto producer = ebpf::Producer::create(line.producer, *log, &why);
  if (!producer) {
    (*log)(ebpf::LogLevel::kError, why.error.message);
    if (!line.log_file.empty()) {
      std::fprintf(stderr, "ebpf-producer: %s\n", ebpf::one_line(why.error.message).c_str());
    }
    return exit_code_of(why);
  }
  std::printf("ready: %s, socket %s\n", ebpf::one_line(producer->source()).c_str(),
              ebpf::one_line(line.producer.socket_path).c_str());
  std::fflush(stdout);
  producer->run(signals.get());
  return ebpf::kExitOk;
}

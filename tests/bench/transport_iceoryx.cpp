// SPDX-License-Identifier: Apache-2.0
// iceoryx: untyped publisher and subscribers, zero copy, a publish per record (it has no
// bursts). Its daemon, RouDi, runs as a child of the bench for as long as it is needed.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/popo/wait_set.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "libebpf/detail/unique_fd.h"
#include "transport.h"

namespace ebpf::bench {
namespace {

constexpr uint64_t kStartTimeoutNs = 10'000'000'000;
constexpr uint64_t kQueueCapacity = 256;  // the most that it allows

iox::capro::ServiceDescription service() { return {"libebpf", "bench", "records"}; }

// ---- RouDi ------------------------------------------------------------------------------

pid_t roudi_pid = -1;

// One pool for each record size of the bench; sizes are multiples of 8, chunks of their header.
bool write_config(const std::string& path) {
  std::ofstream file(path);
  file << "[general]\nversion = 1\n\n[[segment]]\n";
  for (const auto& [bytes, count] : {std::pair{256, 4096}, {1024, 4096}, {16384, 2048}}) {
    file << "\n[[segment.mempool]]\nsize = " << bytes << "\ncount = " << count << "\n";
  }
  return static_cast<bool>(file.flush());
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// What it says goes to a file: it may go on talking for as long as it lives.
bool says_ready(const std::string& log) {
  const uint64_t until = now_ns() + kStartTimeoutNs;
  while (now_ns() < until && waitpid(roudi_pid, nullptr, WNOHANG) == 0) {
    if (text_of(log).find("RouDi is ready") != std::string::npos) return true;
    sleep_us(10'000);
  }
  return false;
}

Result<> start_roudi(const std::string& directory) {
  if (roudi_pid > 0) return Unit{};
  const std::string config = directory + "/roudi.toml";
  const std::string log = directory + "/roudi.log";
  if (!write_config(config)) return errno_error("cannot write " + config);
  const UniqueFd output(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!output) return errno_error("cannot write " + log);
  const pid_t child = fork();
  if (child < 0) return errno_error("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(output.get(), STDOUT_FILENO);
    dup2(output.get(), STDERR_FILENO);
    execlp("iox-roudi", "iox-roudi", "-c", config.c_str(), nullptr);
    _exit(127);
  }
  roudi_pid = child;
  if (says_ready(log)) return Unit{};
  end_iceoryx();
  std::string said = text_of(log);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  return Error{ENOENT, "not there: iox-roudi (package iceoryx) does not start: " +
                           said.substr(said.rfind('\n') + 1)};
}

// ---- both ends --------------------------------------------------------------------------

void init_runtime(const char* role) {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kOff,
                                                           iox::log::LogLevelOutput::kHideLogLevel);
  const std::string name = std::string("libebpf-bench-") + role + "-" + std::to_string(getpid());
  iox::runtime::PoshRuntime::initRuntime(
      iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.data(), name.size()));
}

class IceoryxWriter : public Writer {
 public:
  IceoryxWriter() : publisher_(service(), options()) {}

  bool write(Source& source, uint64_t first_seq, uint32_t count) override {
    bool done = true;
    for (uint32_t i = 0; i < count; ++i) {
      ebpf_record* record = source.next();
      record->seq = first_seq + i;
      publisher_.loan(source.record_bytes())
          .and_then([&](void* chunk) {
            std::memcpy(chunk, record, source.record_bytes());
            publisher_.publish(chunk);
          })
          .or_else([&](auto&) { done = false; });
    }
    return done;
  }

 private:
  static iox::popo::PublisherOptions options() {
    iox::popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return options;
  }
  iox::popo::UntypedPublisher publisher_;
};

class IceoryxReader : public Reader {
 public:
  explicit IceoryxReader(Wait wait) : wait_(wait), subscriber_(service(), options()) {}
  ~IceoryxReader() override {
    if (wait_ == Wait::kSleep) wait_set_.detachState(subscriber_, State::HAS_DATA);
  }

  bool connect() {
    const uint64_t until = now_ns() + kStartTimeoutNs;
    while (subscriber_.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED) {
      if (now_ns() > until) return false;
      sleep_us(500);
    }
    if (wait_ != Wait::kSleep) return true;
    return !wait_set_.attachState(subscriber_, State::HAS_DATA).has_error();
  }

  int read(Checker& checker) override {
    int count = 0;
    while (take(checker)) ++count;
    if (count > 0) return count;
    if (checker.board().over.load() != 0) {
      while (take(checker)) ++count;
      return count > 0 ? count : -1;
    }
    if (wait_ == Wait::kSleep) {
      wait_set_.timedWait(iox::units::Duration::fromMilliseconds(20));
    } else if (wait_ == Wait::kNatural) {
      sched_yield();
    } else {
      relax();
    }
    return 0;
  }

 private:
  using State = iox::popo::SubscriberState;

  static iox::popo::SubscriberOptions options() {
    iox::popo::SubscriberOptions options;
    options.queueCapacity = kQueueCapacity;
    options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    return options;
  }

  bool take(Checker& checker) {
    bool taken = false;
    subscriber_.take().and_then([&](const void* chunk) {
      checker.record(*static_cast<const ebpf_record*>(chunk));
      subscriber_.release(chunk);
      taken = true;
    });
    return taken;
  }

  Wait wait_;
  iox::popo::UntypedSubscriber subscriber_;
  iox::popo::WaitSet<> wait_set_;
};

class IceoryxChannel : public Channel {
 public:
  explicit IceoryxChannel(Wait wait) : wait_(wait) {}
  Result<std::unique_ptr<Writer>> open_writer() override {
    init_runtime("writer");
    return std::unique_ptr<Writer>(new IceoryxWriter);
  }
  Result<std::unique_ptr<Reader>> open_reader(uint32_t) override {
    init_runtime("reader");
    auto reader = std::make_unique<IceoryxReader>(wait_);
    if (!reader->connect()) return Error{ETIMEDOUT, "iceoryx: no subscription"};
    return std::unique_ptr<Reader>(std::move(reader));
  }

 private:
  Wait wait_;
};

Result<std::unique_ptr<Channel>> create(const ChannelOptions& options) {
  if (auto started = start_roudi(options.directory); !started) return started.error();
  return std::unique_ptr<Channel>(new IceoryxChannel(options.wait));
}

}  // namespace

const Transport kIceoryx{"iceoryx", create};

void end_iceoryx() {
  if (roudi_pid <= 0) return;
  kill(roudi_pid, SIGTERM);
  for (int tries = 0; tries < 300; ++tries) {
    if (waitpid(roudi_pid, nullptr, WNOHANG) != 0) {
      roudi_pid = -1;
      return;
    }
    sleep_us(10'000);
  }
  kill(roudi_pid, SIGKILL);
  waitpid(roudi_pid, nullptr, 0);
  roudi_pid = -1;
}

}  // namespace ebpf::bench

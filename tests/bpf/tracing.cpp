// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/tracing.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "producer/bpf_rights.h"

namespace ebpf::test {
namespace {

constexpr uint32_t kSweepBudget = 256;  // entries

// Bare machines have no tracefs mounted: it is, for this process alone.
void mount_tracefs() {
  constexpr const char* kPlace = "/sys/kernel/tracing";
  if (access("/sys/kernel/tracing/events", F_OK) == 0) return;
  if (unshare(CLONE_NEWNS) != 0) return;
  if (mount(nullptr, "/sys", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
  if (mount("tracefs", kPlace, "tracefs", 0, nullptr) != 0) return;
}

}  // namespace

std::vector<Variant> all_variants() {
  constexpr TransportMode kRings = TransportMode::kRingBuffer;
  const bool has_rings = kernel_version() >= 5012;
  const bool has_direct = kernel_version() >= 6002 && access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  std::vector<Variant> variants = {{"Raw", AttachMode::kRaw, false},
                                   {"RawFloor", AttachMode::kRaw, true}};
  if (has_direct) variants.push_back({"Direct", AttachMode::kDirect, false, kRings});
  const TransportMode best = has_rings ? kRings : TransportMode::kPerf;
  variants.push_back({"Tracepoint", AttachMode::kTracepoint, false, best});
  variants.push_back({"TracepointFloor", AttachMode::kTracepoint, true});
  variants.push_back({"RawCopies", AttachMode::kRaw, false, best, 3});
  if (has_direct) variants.push_back({"DirectCopies", AttachMode::kDirect, false, kRings, 3});
  return variants;
}

std::vector<Variant> quick_variants() {
  std::vector<Variant> quick = all_variants();
  std::erase_if(quick,
                [](const Variant& variant) { return variant.attach == AttachMode::kTracepoint; });
  return quick;
}

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

const std::string& own_name() {
  static const std::string name = "test-" + std::to_string(getpid());
  return name;
}

TracerOptions small_options(const Variant& variant) {
  TracerOptions options;
  prctl(PR_SET_NAME, own_name().c_str());
  options.filters.allow_names = {own_name()};
  options.perf_pages = 512;
  options.max_socket_entries = 4096;
  options.max_trace_entries = 4096;
  options.attach = variant.attach;
  options.transport = variant.transport;
  options.copies = variant.copies;
  if (variant.floor) options.bpf_file = EBPF_FLOOR_OBJECT;
  return options;
}

std::unique_ptr<Tracing> Tracing::open(const TracerOptions& options, std::string* why) {
  if (options.attach == AttachMode::kTracepoint) mount_tracefs();
  const LogSink log = [](LogLevel level, const std::string& text) {
    if (level != LogLevel::kDebug || std::getenv("EBPF_TEST_DEBUG")) std::cerr << text << "\n";
  };
  auto tracer = KernelTracer::open(options, log);
  if (!tracer) {
    *why = tracer.error().message;
    return nullptr;
  }
  auto tracing = std::make_unique<Tracing>();
  tracing->tracer_ = std::move(*tracer);
  return tracing;
}

pid_t Tracing::run(const std::function<int()>& body) {
  auto started = tracer_->start();
  EXPECT_TRUE(started) << started.error().message;
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child: status " << status;
  EXPECT_TRUE(tracer_->stop());
  return pid;
}

std::vector<Event> Tracing::take(pid_t pid) {
  std::vector<Event> events;
  for (CpuBuffer& cpu : tracer_->cpus()) {
    cpu.snapshot();
    for (EventView view; cpu.peek(&view); cpu.pop()) {
      Event event;
      constexpr uint32_t kHeader = sizeof(kernel_event) - KERNEL_EVENT_NOT_SENT;
      if (view.size() < kHeader) {
        ADD_FAILURE() << "event of " << view.size() << " bytes";
        continue;
      }
      view.copy(&event.lost, 0, sizeof(event.lost));
      view.copy(&event.data, sizeof(event.lost), sizeof(event.data));
      event.cpu = cpu.cpu();
      if (view.size() < kHeader + event.data.cap_len) {
        ADD_FAILURE() << "cap_len " << event.data.cap_len << " in " << view.size() << " bytes";
        continue;
      }
      event.payload.resize(event.data.cap_len);
      view.copy(event.payload.data(), kHeader, event.data.cap_len);
      if (pid == 0 || event.data.process_id == static_cast<uint32_t>(pid)) {
        events.push_back(std::move(event));
      }
    }
    cpu.release();
    EXPECT_EQ(cpu.bad_records(), 0u);
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return a.data.timestamp < b.data.timestamp;
  });
  return events;
}

std::vector<Event> Tracing::trace(const std::function<int()>& body) {
  const pid_t pid = run(body);
  return take(pid);
}

std::vector<Event> stream(Tracing& tracing, const std::function<int()>& body, uint64_t* lost) {
  std::vector<Event> events;
  const auto drain = [&] {
    std::vector<Event> some = tracing.take(0);
    std::move(some.begin(), some.end(), std::back_inserter(events));
  };
  KernelTracer& tracer = tracing.tracer();
  EXPECT_TRUE(tracer.start());
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  for (pid_t ended = 0; ended == 0; ended = waitpid(pid, &status, WNOHANG)) {
    drain();
    tracer.forget_dead_sockets(kSweepBudget);
    usleep(1000);
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child: status " << status;
  EXPECT_TRUE(tracer.stop());
  drain();
  *lost = tracer.counters()[COUNTER_LOST];
  return events;
}

uint64_t sockets_in_map(Tracing& tracing) {
  const KernelCounters counters = tracing.tracer().counters();
  return counters[COUNTER_SOCKET_INSERTED] - counters[COUNTER_SOCKET_DELETED];
}

uint64_t sockets_in_map_at_last(Tracing& tracing, uint64_t left) {
  constexpr int kTries = 3000;
  EXPECT_TRUE(tracing.tracer().start());
  for (int i = 0; i < kTries && sockets_in_map(tracing) > left; i++) {
    tracing.tracer().forget_dead_sockets(kSweepBudget);
    usleep(10'000);
  }
  EXPECT_TRUE(tracing.tracer().stop());
  return sockets_in_map(tracing);
}

std::vector<Event> of_direction(const std::vector<Event>& events, uint8_t direction) {
  std::vector<Event> some;
  for (const Event& event : events) {
    if (event.data.direction == direction) some.push_back(event);
  }
  return some;
}

}  // namespace ebpf::test

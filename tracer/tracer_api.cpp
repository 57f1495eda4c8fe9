// SPDX-License-Identifier: Apache-2.0
// The original API: keeps the order of the calls, exceptions inside, and a log line for
// everything that is refused.
#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "libebpf/tracer.h"
#include "tracer/socket_tracer.h"

namespace ebpf {
namespace {

// Never destroyed: workers may still run while the process ends.
struct Program {
  std::mutex mutex;  // init and running_socket_tracer
  TracerLog log;
  bool initialised = false;
  bool finished = false;
  std::atomic<SocketTracer*> tracer{nullptr};
  pid_t pid = 0;
};

Program& program() {
  static auto* const the_program = new Program;
  return *the_program;
}

// The function's name, what was wrong; 0 or -1.
template <class Body>
int answer(const char* function, Body&& body) noexcept {
  try {
    Result<> result = body();
    if (result) return 0;
    program().log.error(std::string(function) + "() refused: " + result.error().message);
  } catch (const std::exception& failure) {
    program().log.error(std::string(function) + "() failed: " + failure.what());
  }
  return -1;
}

// A child that was forked off has none of the threads, and must not remove the socket.
void at_exit() {
  Program& state = program();
  SocketTracer* tracer = state.tracer.load();
  if (tracer == nullptr || state.pid != getpid()) return;
  try {
    tracer->shut_down();
  } catch (const std::exception& failure) {
    state.log.error(std::string("at exit: ") + failure.what());
  }
}

Result<> init(const char* log_file, bool to_stdout) {
  Program& state = program();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.initialised) return Error{EALREADY, "called for the second time"};
  if (auto opened = state.log.open(log_file, to_stdout); !opened) return opened;
  state.initialised = true;
  state.log.info(std::string("version ") + LIBEBPF_VERSION);
  return Unit{};
}

Result<> run(const SocketTracerOptions& options) {
  Program& state = program();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (!state.initialised) return Error{EINVAL, "bpf_tracer_init() comes first"};
  if (state.tracer.load() != nullptr) return Error{EALREADY, "called for the second time"};
  auto tracer = SocketTracer::open(options, state.log);
  if (!tracer) return tracer.error();
  state.pid = getpid();
  state.tracer.store(tracer->release());
  if (std::atexit(at_exit) != 0) state.log.write(LogLevel::kWarn, "atexit() failed");
  return Unit{};
}

Result<SocketTracer*> opened_tracer() {
  SocketTracer* tracer = program().tracer.load();
  if (tracer == nullptr) return Error{EINVAL, "running_socket_tracer() comes first"};
  return tracer;
}

}  // namespace
}  // namespace ebpf

using ebpf::Result;
using ebpf::SocketTracer;

extern "C" {

int bpf_tracer_init(const char* log_file, bool is_stdout) {
  return ebpf::answer("bpf_tracer_init", [&] { return ebpf::init(log_file, is_stdout); });
}

void bpf_tracer_finish(void) {
  ebpf::answer("bpf_tracer_finish", []() -> Result<> {
    ebpf::Program& state = ebpf::program();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (!state.initialised) return ebpf::Error{EINVAL, "bpf_tracer_init() comes first"};
    if (!state.finished) state.log.info("every tracer has been set up");
    state.finished = true;
    return ebpf::Unit{};
  });
}

int running_socket_tracer(void (*callback)(SK_BPF_DATA*), int thread_nr, unsigned perf_pages_cnt,
                          unsigned ring_size, unsigned max_socket_entries,
                          unsigned max_trace_entries, unsigned socket_map_max_reclaim) {
  return ebpf::answer("running_socket_tracer", [&] {
    return ebpf::run({callback, thread_nr, perf_pages_cnt, ring_size, max_socket_entries,
                      max_trace_entries, socket_map_max_reclaim});
  });
}

int tracer_start(void) {
  return ebpf::answer("tracer_start", []() -> Result<> {
    const Result<SocketTracer*> tracer = ebpf::opened_tracer();
    if (!tracer) return tracer.error();
    return (*tracer)->start();
  });
}

int tracer_stop(void) {
  return ebpf::answer("tracer_stop", []() -> Result<> {
    const Result<SocketTracer*> tracer = ebpf::opened_tracer();
    if (!tracer) return tracer.error();
    return (*tracer)->stop();
  });
}

SK_TRACE_STATS socket_tracer_stats(void) {
  SK_TRACE_STATS stats{};
  SocketTracer* tracer = ebpf::program().tracer.load();
  if (tracer == nullptr) return stats;
  ebpf::answer("socket_tracer_stats", [&]() -> Result<> {
    stats = tracer->stats();
    return ebpf::Unit{};
  });
  return stats;
}

}  // extern "C"

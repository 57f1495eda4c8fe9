// SPDX-License-Identifier: Apache-2.0
#include "producer/attach.h"

#include <unistd.h>

#include <string>

#include "producer/bpf_rights.h"
#include "producer/libbpf_log.h"

namespace ebpf {
namespace {

// Enter program by the number of arguments that it reads: see bpf/socket_trace.bpf.c.
struct TracedCall {
  const char* name;
  const char* enter_program;
};

constexpr TracedCall kTracedCalls[] = {
    {"read", "tp_enter3"},     {"write", "tp_enter3"},      {"readv", "tp_enter3"},
    {"writev", "tp_enter3"},   {"recvfrom", "tp_enter6"},   {"sendto", "tp_enter6"},
    {"recvmsg", "tp_enter3"},  {"sendmsg", "tp_enter3"},    {"recvmmsg", "tp_enter4"},
    {"sendmmsg", "tp_enter4"}, {"sendfile64", "tp_enter3"}, {"splice", "tp_enter3"},
};

class Attacher {
 public:
  Attacher(bpf_object* object, const LogSink& log) : object_(object), log_(log), libbpf_(log) {}

  bool raw(const char* program, const char* hook) {
    bpf_program* found = find(program);
    return add(hook, found, bpf_program__attach_raw_tracepoint(found, hook));
  }
  bool tracepoint(const char* program, const char* category, const std::string& hook) {
    bpf_program* found = find(program);
    return add(hook, found, bpf_program__attach_tracepoint(found, category, hook.c_str()));
  }
  // For hooks that only keep the maps small.
  void optional(bool attached) {
    if (attached) return;
    log_(LogLevel::kInfo, error_.message + "; idle map entries are swept instead");
  }

  const Error& error() const { return error_; }
  BpfLinks take() { return std::move(links_); }

 private:
  bpf_program* find(const char* name) const {
    return bpf_object__find_program_by_name(object_, name);
  }
  bool add(const std::string& hook, const bpf_program* program, bpf_link* link) {
    if (link) {
      links_.push_back({std::unique_ptr<bpf_link, BpfLinkDeleter>(link), program, hook});
      return true;
    }
    error_ = errno_error("cannot attach to " + hook);
    if (const std::string why = explain_refusal(error_.code); !why.empty()) {
      error_.message += "; " + why;
    }
    return false;
  }

  bpf_object* object_;
  const LogSink& log_;
  LibbpfLog libbpf_;
  BpfLinks links_;
  Error error_;
};

}  // namespace

Result<BpfLinks> attach_raw(bpf_object* object, const LogSink& log) {
  Attacher attacher(object, log);
  if (!attacher.raw("raw_exit", "sys_exit")) return attacher.error();
  attacher.optional(attacher.raw("raw_sock_state", "inet_sock_set_state"));
  attacher.optional(attacher.raw("raw_thread_exit", "sched_process_exit"));
  return attacher.take();
}

Result<BpfLinks> attach_raw_copy(bpf_object* object, const LogSink& log) {
  Attacher attacher(object, log);
  if (!attacher.raw("raw_exit", "sys_exit")) return attacher.error();
  return attacher.take();
}

Result<BpfLinks> attach_tracepoints(bpf_object* object, const LogSink& log) {
  if (auto there = check_tracefs(); !there) return there.error();
  Attacher attacher(object, log);
  for (const TracedCall& call : kTracedCalls) {
    const std::string name = call.name;
    if (!attacher.tracepoint("tp_exit", "syscalls", "sys_exit_" + name) ||
        !attacher.tracepoint(call.enter_program, "syscalls", "sys_enter_" + name)) {
      return attacher.error();
    }
  }
  attacher.optional(attacher.tracepoint("tp_sock_state", "sock", "inet_sock_set_state"));
  attacher.optional(attacher.tracepoint("tp_thread_exit", "sched", "sched_process_exit"));
  return attacher.take();
}

Result<> try_attach(bpf_object* object, bool use_tracepoints, const LogSink& log) {
  Attacher attacher(object, log);
  const bool attached = use_tracepoints
                            ? attacher.tracepoint("tp_enter6", "syscalls", "sys_enter_recvfrom")
                            : attacher.raw("raw_exit", "sys_exit");
  if (!attached) return attacher.error();
  return Unit{};
}

Result<> check_tracefs() {
  constexpr const char* kPlaces[] = {"/sys/kernel/tracing/events/syscalls",
                                     "/sys/kernel/debug/tracing/events/syscalls"};
  int code = ENOENT;
  for (const char* place : kPlaces) {
    if (access(place, R_OK | X_OK) == 0) return Unit{};
    if (errno != ENOENT) code = errno;
  }
  if (code == EACCES) {
    return errno_error("may not look into tracefs (run as root, or grant CAP_DAC_READ_SEARCH)",
                       code);
  }
  return errno_error(
      "no system call tracepoints in /sys/kernel/tracing nor /sys/kernel/debug/tracing "
      "(mount -t tracefs tracefs /sys/kernel/tracing; needs CONFIG_FTRACE_SYSCALLS)",
      code);
}

}  // namespace ebpf

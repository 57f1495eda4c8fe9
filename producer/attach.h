// SPDX-License-Identifier: Apache-2.0
// Hooks the loaded programs in: raw tracepoints, or one tracepoint per system call.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

struct BpfLinkDeleter {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
// A program that is hooked in, for as long as this lives.
struct BpfLink {
  std::unique_ptr<bpf_link, BpfLinkDeleter> link;
  const bpf_program* program;
  std::string hook;
};
using BpfLinks = std::vector<BpfLink>;

// Dropping the links detaches; with tracepoints that takes the kernel about 60 ms for each
// of the twenty-four. The hooks that only keep the maps small (a socket's end, a
// thread's end) may be missing; the log says so.
Result<BpfLinks> attach_raw(bpf_object* object, const LogSink& log);
// The hook that captures, and nothing else: for the copies (see enum copy_role).
Result<BpfLinks> attach_raw_copy(bpf_object* object, const LogSink& log);
Result<BpfLinks> attach_tracepoints(bpf_object* object, const LogSink& log);

// Attaches to one hook and detaches again.
Result<> try_attach(bpf_object* object, bool use_tracepoints, const LogSink& log);

// Where tracefs is mounted, with the system call events in it. The error names the paths.
Result<> check_tracefs();

}  // namespace ebpf

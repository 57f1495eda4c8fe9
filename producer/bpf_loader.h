// SPDX-License-Identifier: Apache-2.0
// Loads the BPF object for one attach back end, with its maps sized and filled. Nothing is
// attached here.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <string>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"
#include "producer/kernel_tracer.h"
#include "producer/log.h"

namespace ebpf {

struct BpfObjectDeleter {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using BpfObject = std::unique_ptr<bpf_object, BpfObjectDeleter>;

struct LoadRequest {
  const TracerOptions* options;
  const offsets_table* offsets;
  uint32_t attach_kind;  // EBPF_ATTACH_*
  copy_role role = ROLE_ONLY;
  bpf_object* original = nullptr;  // loaded before: its maps are shared, as far as that is safe
};

// Loads the file of the options, or else the better of the embedded objects that this
// kernel takes. The configuration is written with `enabled` 0. The error holds the
// program's name and the verifier's last lines.
Result<BpfObject> load_object(const LoadRequest& request, const LogSink& log);

// The map of BPF ring buffers by CPU, in the objects that have it.
constexpr char kRingsMap[] = "rings_map";

// Whether events come through BPF ring buffers.
bool uses_rings(const BpfObject& object, const TracerOptions& options);

// Unread bytes in a CPU's buffer of so many pages that wake the drain: a quarter.
uint32_t wake_bytes(uint32_t pages);
// As many events are that much at least; a power of two.
uint32_t wake_events(const TracerOptions& options);

// For an object that is loaded; see enum copy_role.
Result<> set_role(const BpfObject& object, copy_role role);

// fd of a map of the object, -1 if it has none of that name.
int map_fd(const BpfObject& object, const char* name);

}  // namespace ebpf

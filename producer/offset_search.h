// SPDX-License-Identifier: Apache-2.0
// The offsets table by search, for kernels without BTF (bpf/kernel_abi.h says what is in
// it). No list of kernels is used: the search makes sockets whose addresses, ports, types
// and sequence numbers it knows, and looks where in kernel memory they stand.
#pragma once

#include <cstdint>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

struct SearchedOffsets {
  offsets_table table{};
  uint32_t cpus_checked = 0;  // the table was tried out on each of them
  bool has_ipv6 = true;       // false: no such sockets here; their offsets are 0
};

// Fills the whole table, or says which field could not be found, and why. Every value was
// compared on several sockets with different values.
//
// Runs on a thread of its own, with a descriptor table of its own, and takes well under a
// second. Needs the rights to load a BPF program (root, or CAP_BPF and CAP_PERFMON), the
// loopback interface, and some hundred descriptors (RLIMIT_NOFILE). Blocks until it is
// done; nothing of it stays behind, and no other thread or process is touched.
Result<SearchedOffsets> search_offsets(const LogSink& log);

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// What the kernel tells about the loaded programs and maps.
#pragma once

#include <bpf/libbpf.h>

#include <functional>
#include <string>
#include <vector>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/attach.h"

namespace ebpf {

std::vector<ebpf_program_row> program_rows(bpf_object* object, const BpfLinks& links);

// `known` may give the number of entries of a map, so that they need not be counted; it returns
// false for those that it does not know.
using EntriesUsed = std::function<bool(const std::string& map, uint64_t* used)>;
std::vector<ebpf_map_row> map_rows(bpf_object* object, const EntriesUsed& known);

// As long as the descriptor is open, the kernel counts how often and how long programs run, those
// of everybody: since Linux 5.8, and with CAP_SYS_ADMIN.
Result<UniqueFd> count_program_runs();

}  // namespace ebpf

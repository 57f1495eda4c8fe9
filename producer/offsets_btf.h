// SPDX-License-Identifier: Apache-2.0
// The offsets table from BTF: the running kernel's, or a file's.
#pragma once

#include <array>
#include <string>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

// Names of the table's members, in order, as people know them: "task_struct.files".
const std::array<const char*, OFFSETS_TABLE_ENTRIES>& offset_names();

// `path` empty: the running kernel's BTF. Otherwise a raw BTF file, or an ELF file with a
// .BTF section. The error names the first member that was not found. ENOENT: no BTF there.
Result<offsets_table> offsets_from_btf(const std::string& path, const LogSink& log);

}  // namespace ebpf

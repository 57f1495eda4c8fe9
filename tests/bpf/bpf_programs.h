// SPDX-License-Identifier: Apache-2.0
// The programs of a BPF object as they stand in the ELF file, with their references resolved. No
// kernel is needed, and no rights.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ebpf::test {

struct ModelMap {
  std::string name;  // of the compiler's own sections: ends with the section's name
  bpf_map_type type;
  uint32_t key_bytes;
  uint32_t value_bytes;
  uint32_t max_entries = 1;
  std::vector<uint8_t> initial = {};  // .rodata and .data
};

struct ModelProgram {
  std::string name;
  std::string section;  // "tracepoint", "raw_tp/...", "perf_event"
  // A load of a map holds the map's index, src_reg BPF_PSEUDO_MAP_FD; of a place in a section,
  // also the offset, BPF_PSEUDO_MAP_VALUE; a call of a kernel function holds the index of its
  // name, BPF_PSEUDO_KFUNC_CALL.
  std::vector<bpf_insn> code;
  const std::vector<ModelMap>* maps;
  std::vector<std::string> kernel_functions = {};
  size_t functions_at = 0;  // where the functions that it calls begin; 0: it calls none
};

// The programs of an object file. Throws std::runtime_error.
std::vector<ModelProgram> read_programs(const std::string& path, std::vector<ModelMap>* maps);

}  // namespace ebpf::test

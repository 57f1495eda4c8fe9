// SPDX-License-Identifier: Apache-2.0
// A model of the verifier of Linux 4.14, for the programs of this project: no loops, no calls of
// functions, tracing programs loaded by root. It walks the paths that the kernel would walk,
// joins states where the kernel would, and counts as the kernel counts.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ebpf::test {

struct ModelMap {
  std::string name;
  bpf_map_type type;
  uint32_t key_bytes;
  uint32_t value_bytes;
};

struct ModelProgram {
  std::string name;
  std::string section;         // "tracepoint", "raw_tp/...", "perf_event"
  std::vector<bpf_insn> code;  // a load of a map holds the map's index, src_reg 1
  const std::vector<ModelMap>* maps;
};

struct Verdict {
  std::string refusal;     // empty: accepted
  uint32_t processed = 0;  // instructions, on all paths together
  uint32_t stack_bytes = 0;
};

constexpr uint32_t kProcessedMax = 131072;  // of 4.14; 4.13 had 98,304

Verdict verify_as_414(const ModelProgram& program);

// The programs of an object file, with their references to maps resolved.
std::vector<ModelProgram> read_programs(const std::string& path, std::vector<ModelMap>* maps);

}  // namespace ebpf::test

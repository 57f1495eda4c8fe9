// SPDX-License-Identifier: Apache-2.0
// A model of the verifier of Linux 4.14, for the programs of this project: no loops, no calls of
// functions, tracing programs loaded by root. It walks the paths that the kernel would walk,
// joins states where the kernel would, and counts as the kernel counts.
#pragma once

#include <cstdint>
#include <string>

#include "tests/bpf/bpf_programs.h"

namespace ebpf::test {

struct Verdict {
  std::string refusal;     // empty: accepted
  uint32_t processed = 0;  // instructions, on all paths together
  uint32_t stack_bytes = 0;
};

constexpr uint32_t kProcessedMax = 131072;  // of 4.14; 4.13 had 98,304

Verdict verify_as_414(const ModelProgram& program);

}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
// What tracing costs the process that is traced, call by call.
#pragma once

#include <string>
#include <vector>

#include "experiments.h"

namespace ebpf::bench {

struct CostOptions {
  uint32_t rounds = 30;
  bool quick = false;
  bool others = true;                // tcpdump, bpftrace, strace as well
  std::string only;                  // of ours: the one whose name begins so; "": all
  std::vector<std::string> objects;  // files: each of ours once more with this BPF object
  std::vector<std::string> works;    // keys of what is measured; none: everything
  std::string directory;             // a temporary one
};

// Rows in turns, round after round, and what of the figures to reach was reached.
Json measure_cost(const CostOptions& options);
Json judge_cost(const Json& rows);
void print_cost(std::FILE* out, const Json& document);

}  // namespace ebpf::bench

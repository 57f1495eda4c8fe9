// SPDX-License-Identifier: Apache-2.0
// The measurements of drain_bench. Rows of a part take turns, round after round.
#pragma once

#include <string>
#include <vector>

#include "experiments.h"
#include "libebpf/detail/result.h"

namespace ebpf::bench {

struct DrainBenchOptions {
  bool quick = false;
  uint32_t rounds = 3;
  double seconds = 1;                 // of one storm
  double idle_seconds = 10;           // of one look at an idle producer
  std::string directory;              // a temporary one
  std::vector<std::string> producer;  // more arguments of it
};

// Flat out; and at a given rate. Each row's account: emitted = delivered + lost by stage.
Result<Json> measure_rates(const DrainBenchOptions& options);
Result<Json> measure_paced(const DrainBenchOptions& options);
Result<Json> measure_drain_latency(const DrainBenchOptions& options);
Result<Json> measure_idle(const DrainBenchOptions& options);

Json judge_drain(const Json& document);
void print_drain(std::FILE* out, const Json& document);

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// The measurements. Each runs its variants in turn, round after round, so that what
// disturbs the machine disturbs all of them alike, and reports medians over the rounds.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace ebpf::bench {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  bool quick = false;
  uint32_t rounds = 5;
  double seconds = 0.1;  // of one run
  uint64_t ring_bytes = 16ull << 20;
  std::string directory;  // a temporary one
};

Json measure_throughput(const BenchOptions& options);
Json measure_latency(const BenchOptions& options);
Json measure_producer_cpu(const BenchOptions& options);

// What the ring is meant to reach, and what it reached in this document.
Json judge(const Json& document);

}  // namespace ebpf::bench

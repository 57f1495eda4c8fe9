// SPDX-License-Identifier: Apache-2.0
// One run: a producer process, some consumer processes, one transport, one way to write.
#pragma once

#include <string>
#include <vector>

#include "transport.h"

namespace ebpf::bench {

enum class Pace {
  kFlatOut,   // the producer never waits for anybody
  kLossless,  // it stays within half a window of the slowest reader (a transport that
              // blocks does so by itself)
  kSingles,   // one record at a time, with a pause in between: latency
  kPhases,    // flat out, in turns with plain memcpy: the producer's CPU time
};

// What one of the consumers does, beside the others, who read.
enum class Oddity { kNone, kStopped, kHostile };

struct RunOptions {
  ChannelOptions channel;
  Pace pace = Pace::kLossless;
  Oddity oddity = Oddity::kNone;
  bool pinned = false;  // producer on the first CPU, consumers on the last
  double seconds = 0.1;
  long pause_us = 10;   // kSingles
  uint32_t phases = 4;  // kPhases
};

struct ConsumerResult {
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t errors = 0;
  double per_s = 0;
};

struct RunResult {
  uint64_t published = 0;
  double published_per_s = 0;
  std::vector<ConsumerResult> consumers;
  std::vector<uint32_t> samples_ns;  // kSingles
  std::vector<double> ring_ns;       // kPhases: CPU time per record
  std::vector<double> memcpy_ns;
  std::string first_error;  // of a record that was wrong
};

// An error when the run could not take place; wrong records are in the result.
Result<RunResult> run_once(const Transport& transport, const RunOptions& options);

}  // namespace ebpf::bench

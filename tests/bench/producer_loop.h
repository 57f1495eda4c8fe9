// SPDX-License-Identifier: Apache-2.0
// How the producer of a run writes: the loop around every transport's writer.
#pragma once

#include "run.h"

namespace ebpf::bench {

// As the drain does: records are published in bursts of 16; sleepers are looked after once
// per pass, which is four bursts here.
constexpr uint32_t kBurst = 16;
constexpr uint32_t kPassBursts = 4;

// Writes as options.pace says and leaves its account on the board. False: it cannot.
bool write_records(Writer& writer, Board& board, const RunOptions& options);

}  // namespace ebpf::bench

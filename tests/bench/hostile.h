// SPDX-License-Identifier: Apache-2.0
// A consumer that joins as any other and then does its worst with what it was given.
#pragma once

#include "transport.h"

namespace ebpf::bench {

// Scribbles over its control page until it is killed: pins that change all the time, a
// flag that says it sleeps, random bytes everywhere.
void be_hostile(const ChannelOptions& options, Board& board);

}  // namespace ebpf::bench

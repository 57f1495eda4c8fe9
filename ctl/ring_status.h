// SPDX-License-Identifier: Apache-2.0
// The ring and the counters, asked for together: where a consumer or a stage is shown, both are.
#pragma once

#include "consumer/control_client.h"
#include "ctl/command.h"
#include "libebpf/detail/result.h"

namespace ebpf::ctl {

struct RingStatus {
  ebpf_msg_stats stats;
  RingState ring;
};

Result<RingStatus> ask_ring_status(ControlClient& client);
// Over a connection of its own.
Result<RingStatus> ask_ring_status(const Options& options);

}  // namespace ebpf::ctl

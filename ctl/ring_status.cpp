// SPDX-License-Identifier: Apache-2.0
#include "ctl/ring_status.h"

namespace ebpf::ctl {

Result<RingStatus> ask_ring_status(ControlClient& client) {
  auto stats = client.get_stats();
  if (!stats) return stats.error();
  auto ring = client.get_ring();
  if (!ring) return ring.error();
  return RingStatus{*stats, std::move(*ring)};
}

Result<RingStatus> ask_ring_status(const Options& options) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  return ask_ring_status(*client);
}

}  // namespace ebpf::ctl

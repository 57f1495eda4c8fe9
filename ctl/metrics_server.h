// SPDX-License-Identifier: Apache-2.0
// Serves the metrics over HTTP, for a Prometheus server to scrape.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ctl/metrics.h"
#include "libebpf/detail/result.h"

namespace ebpf::ctl {

// An address to listen at: "PORT" (of 127.0.0.1), "IPV4:PORT" or "[IPV6]:PORT", numbers only.
// Port 0: one that is free. EINVAL: none of these.
struct ListenAddress {
  std::string host;  // without brackets
  uint16_t port = 0;
  bool ipv6 = false;

  std::string text() const;  // "127.0.0.1:9435", "[::1]:9435"
};
Result<ListenAddress> parse_listen_address(const std::string& text);

// Serves what `collect` gives at /metrics, until SIGINT or SIGTERM; calls `ready` with the URL
// first. `collect` may be called from several threads at once.
Result<> serve_metrics(const ListenAddress& address, std::function<MetricFamilies()> collect,
                       const std::function<Result<>(const std::string& url)>& ready);

}  // namespace ebpf::ctl

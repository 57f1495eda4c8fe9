// SPDX-License-Identifier: Apache-2.0
// The producer's figures as Prometheus has them. docs/METRICS.md lists them.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <vector>

#include "consumer/control_client.h"

namespace ebpf::ctl {

using MetricFamilies = std::vector<prometheus::MetricFamily>;

// What the producer told at one time.
struct Snapshot {
  ebpf_msg_stats stats;
  RingState ring;
  uint64_t taken_us;  // since 1970
};

// `per_consumer`: also series that name each consumer, as many as there are.
MetricFamilies metrics_of(const Snapshot& snapshot, bool per_consumer);

// Where the producer does not answer: ebpf_up 0, nothing else.
MetricFamilies metrics_without_producer();

std::string metrics_text(const MetricFamilies& families);
std::string metrics_json(const MetricFamilies& families);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// The producer's figures as Prometheus has them. docs/METRICS.md lists them.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <vector>

#include "libebpf/control.h"

namespace ebpf::ctl {

using MetricFamilies = std::vector<prometheus::MetricFamily>;

// `now_us`: µs since 1970, from which the time of the start follows.
MetricFamilies metrics_of(const ebpf_msg_stats& stats, uint64_t now_us);

// Where the producer does not answer: ebpf_up 0, nothing else.
MetricFamilies metrics_without_producer();

std::string metrics_text(const MetricFamilies& families);
std::string metrics_json(const MetricFamilies& families);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// The records of one request as lines, or as one JSON object.
#pragma once

#include <string>

#include "consumer/view/record_printer.h"
#include "ctl/flow_groups.h"

namespace ebpf::ctl {

// "2 hops, 2 processes, 1.234 ms: GET / HTTP/1.1"
std::string group_title(const FlowGroup& group, const std::vector<KeptRecord>& records);

// Text and hex: a line "== TITLE", then the records. JSON, one line: {"trace_ids":[...],
// "duration_us":N,"hops":N,"processes":N,"records":[...]}.
void append_group(std::string& out, RecordStyle style, const FlowGroup& group,
                  const std::vector<KeptRecord>& records);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// The sequence diagram of requests as one HTML page: no script, nothing loaded from anywhere,
// and a policy in the page that forbids both. Whatever was captured is escaped twice: to
// printable ASCII, then for HTML.
#pragma once

#include <string>

#include "ctl/flow_groups.h"

namespace ebpf::ctl {

struct FlowPage {
  std::string source;      // where the records are from
  uint64_t lost = 0;       // records that are known to be missing
  size_t groups_left = 0;  // groups that are not on the page
};

std::string flow_html(const FlowPage& page, const std::vector<FlowGroup>& groups,
                      const std::vector<KeptRecord>& records);

// Printable ASCII (escapes as in consumer/view/format.h), then & < > " ' as entities.
std::string html_text(const std::string& text);

}  // namespace ebpf::ctl

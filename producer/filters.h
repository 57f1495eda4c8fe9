// SPDX-License-Identifier: Apache-2.0
// What the options say about whose traffic is captured; the kernel side decides by it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"

namespace ebpf {

struct PortRange {
  uint16_t first;
  uint16_t last;
};

// An empty list restricts nothing. Who is on both lists is denied.
struct TracerFilters {
  uint32_t protocols = PROTOCOLS_ALL;  // bits PROTOCOL_BIT()
  std::vector<PortRange> allow_ports;
  std::vector<PortRange> deny_ports;
  std::vector<uint32_t> allow_pids;
  std::vector<uint32_t> deny_pids;
  std::vector<std::string> allow_names;
  std::vector<std::string> deny_names;
};

// Lists separated by commas, as on the command line. The error says what would be right.
Result<uint32_t> parse_protocols(const std::string& text);              // "http1,dns", "all"
Result<std::vector<PortRange>> parse_ports(const std::string& text);    // "80,8000-8100"
Result<std::vector<uint32_t>> parse_pids(const std::string& text);      // "1,4711"
Result<std::vector<std::string>> parse_names(const std::string& text);  // "nginx,curl"

// One line for people; empty where nothing is filtered.
std::string describe(const TracerFilters& filters);

// For the configuration: FILTER_* bits.
uint32_t filter_bits(const TracerFilters& filters);
// The whole port filter map, PORT_FILTER_ENTRIES of them.
std::vector<port_filter> port_filters(const TracerFilters& filters);

}  // namespace ebpf

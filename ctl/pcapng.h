// SPDX-License-Identifier: Apache-2.0
// The blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian, link type raw IP, times
// in microseconds. Each function appends one block.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ebpf::ctl {

void append_section_block(std::string& out, const std::string& application);

void append_interface_block(std::string& out, const std::string& name,
                            const std::string& description);

enum class PacketDirection : uint32_t { kUnknown = 0, kInbound = 1, kOutbound = 2 };

struct PacketBlock {
  uint32_t interface_id = 0;
  uint64_t timestamp_us = 0;
  PacketDirection direction = PacketDirection::kUnknown;
  std::span<const uint8_t> bytes;     // what was captured
  uint32_t original_bytes = 0;        // as long as it was on the wire; at least bytes.size()
  std::vector<std::string> comments;  // UTF-8
};
void append_packet_block(std::string& out, const PacketBlock& packet);

struct StatisticsBlock {
  uint32_t interface_id = 0;
  uint64_t start_us = 0;
  uint64_t end_us = 0;
  uint64_t received = 0;  // lost ones included
  uint64_t dropped = 0;   // lost anywhere
  uint64_t dropped_by_os = 0;
  std::string comment;
};
void append_statistics_block(std::string& out, const StatisticsBlock& statistics);

}  // namespace ebpf::ctl

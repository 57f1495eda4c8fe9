// SPDX-License-Identifier: Apache-2.0
// docs/RING.md against ring_layout.h: every field of the layout has its row there, with the
// offset and the size that the compiler gives it, and no row is without a field.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "libebpf/ring_layout.h"

namespace {

struct Field {
  size_t offset;
  size_t bytes;
  bool operator==(const Field& other) const = default;
};
void PrintTo(const Field& field, std::ostream* out) {
  *out << field.bytes << " bytes at " << field.offset;
}

using Fields = std::map<std::string, Field>;

#define FIELD(type, name)                               \
  {                                                     \
#name, { offsetof(type, name), sizeof(type::name) } \
  }

const std::map<std::string, std::pair<size_t, Fields>> kLayout = {
    {"ebpf_ring_header",
     {sizeof(ebpf_ring_header),
      {FIELD(ebpf_ring_header, magic), FIELD(ebpf_ring_header, layout_version),
       FIELD(ebpf_ring_header, header_bytes), FIELD(ebpf_ring_header, epoch),
       FIELD(ebpf_ring_header, total_bytes), FIELD(ebpf_ring_header, lane_count),
       FIELD(ebpf_ring_header, max_consumers), FIELD(ebpf_ring_header, window_segments),
       FIELD(ebpf_ring_header, dir_entries), FIELD(ebpf_ring_header, block_count),
       FIELD(ebpf_ring_header, block_bytes), FIELD(ebpf_ring_header, lanes_offset),
       FIELD(ebpf_ring_header, lane_bytes), FIELD(ebpf_ring_header, blocks_offset),
       FIELD(ebpf_ring_header, cap_bytes), FIELD(ebpf_ring_header, producer_pid),
       FIELD(ebpf_ring_header, created_us), FIELD(ebpf_ring_header, state),
       FIELD(ebpf_ring_header, reserved)}}},
    {"ebpf_lane_header",
     {sizeof(ebpf_lane_header),
      {FIELD(ebpf_lane_header, head), FIELD(ebpf_lane_header, published_seq),
       FIELD(ebpf_lane_header, initial_seq), FIELD(ebpf_lane_header, reserved)}}},
    {"ebpf_block_header",
     {sizeof(ebpf_block_header),
      {FIELD(ebpf_block_header, generation), FIELD(ebpf_block_header, first_seq),
       FIELD(ebpf_block_header, reserved), FIELD(ebpf_block_header, committed),
       FIELD(ebpf_block_header, reserved2)}}},
    {"ebpf_record",
     {sizeof(ebpf_record),
      {FIELD(ebpf_record, length_bytes), FIELD(ebpf_record, kind), FIELD(ebpf_record, reserved),
       FIELD(ebpf_record, seq), FIELD(ebpf_record, data)}}},
    {"ebpf_gap",
     {sizeof(ebpf_gap),
      {FIELD(ebpf_gap, length_bytes), FIELD(ebpf_gap, kind), FIELD(ebpf_gap, reserved),
       FIELD(ebpf_gap, seq), FIELD(ebpf_gap, count), FIELD(ebpf_gap, timestamp_us),
       FIELD(ebpf_gap, cause), FIELD(ebpf_gap, reserved2)}}},
    {"ebpf_control_page",
     {sizeof(ebpf_control_page),
      {FIELD(ebpf_control_page, magic), FIELD(ebpf_control_page, layout_version),
       FIELD(ebpf_control_page, lane_count), FIELD(ebpf_control_page, epoch),
       FIELD(ebpf_control_page, reserved), FIELD(ebpf_control_page, sleeping),
       FIELD(ebpf_control_page, reserved2), FIELD(ebpf_control_page, lanes)}}},
    {"ebpf_control_lane",
     {sizeof(ebpf_control_lane),
      {FIELD(ebpf_control_lane, pin), FIELD(ebpf_control_lane, reserved),
       FIELD(ebpf_control_lane, join_seq), FIELD(ebpf_control_lane, next_seq),
       FIELD(ebpf_control_lane, delivered), FIELD(ebpf_control_lane, filtered),
       FIELD(ebpf_control_lane, lost), FIELD(ebpf_control_lane, reserved2)}}},
};

std::vector<std::string> lines_of(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

size_t number(const std::string& text) { return std::stoul(text); }

// "`ebpf_lane_header`, 64 bytes", and the boxes "│ offset │ bytes │ name" that follow it.
TEST(RingDocument, HasEveryFieldWhereTheHeaderHasIt) {
  const std::regex heading("^ *(ebpf_[a-z_]+), ([0-9]+) bytes.*");
  const std::regex row("^ *([0-9]+) +([0-9]+)  ([a-z_0-9]+)( .*)?");
  std::map<std::string, std::pair<size_t, Fields>> found;
  std::string type;
  for (const std::string& line : lines_of(EBPF_RING_DOCUMENT)) {
    std::smatch match;
    if (std::regex_match(line, match, heading)) {
      type = match[1];
      found[type].first = number(match[2]);
    } else if (!type.empty() && std::regex_match(line, match, row)) {
      found[type].second[match[3]] = {number(match[1]), number(match[2])};
    } else if (line.find("```") == 0) {
      type.clear();
    }
  }
  for (const auto& [name, expected] : kLayout) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(found.count(name)) << "the document does not describe it";
    EXPECT_EQ(found[name].first, expected.first);
    for (const auto& [field, place] : expected.second) {
      ASSERT_TRUE(found[name].second.count(field)) << field << " is missing";
      EXPECT_EQ(found[name].second[field], place) << field;
    }
    EXPECT_EQ(found[name].second.size(), expected.second.size()) << "a row without a field";
  }
  EXPECT_EQ(found.size(), kLayout.size());
}

TEST(RingDocument, NamesTheConstantsWithTheirValues) {
  const std::map<std::string, uint64_t> constants = {
      {"EBPF_RING_LAYOUT_VERSION", EBPF_RING_LAYOUT_VERSION},
      {"EBPF_LANES_MAX", EBPF_LANES_MAX},
      {"EBPF_CONSUMERS_MAX", EBPF_CONSUMERS_MAX},
      {"EBPF_CONSUMERS_DEFAULT", EBPF_CONSUMERS_DEFAULT},
      {"EBPF_RECORD_ALIGN", EBPF_RECORD_ALIGN},
      {"EBPF_CONTROL_BYTES", EBPF_CONTROL_BYTES},
      {"EBPF_RECORD_DATA", EBPF_RECORD_DATA},
      {"EBPF_RECORD_GAP", EBPF_RECORD_GAP},
      {"EBPF_RING_RUNNING", EBPF_RING_RUNNING},
      {"EBPF_RING_ENDED", EBPF_RING_ENDED},
      {"EBPF_AWAKE", EBPF_AWAKE},
      {"EBPF_SLEEPS_ON_FUTEX", EBPF_SLEEPS_ON_FUTEX},
      {"EBPF_SLEEPS_ON_DOORBELL", EBPF_SLEEPS_ON_DOORBELL},
      {"EBPF_GAP_LAPPED", EBPF_GAP_LAPPED},
      {"EBPF_GAP_PERF_FULL", EBPF_GAP_PERF_FULL},
      {"EBPF_GAP_NO_ROOM", EBPF_GAP_NO_ROOM},
      {"EBPF_GAP_RESTART", EBPF_GAP_RESTART},
      {"EBPF_GAP_CORRUPT", EBPF_GAP_CORRUPT},
  };
  const std::regex row("^\\| `(EBPF_[A-Z_]+)` \\| ([0-9]+) \\|.*");
  std::map<std::string, uint64_t> found;
  for (const std::string& line : lines_of(EBPF_RING_DOCUMENT)) {
    std::smatch match;
    if (std::regex_match(line, match, row)) found[match[1]] = number(match[2]);
  }
  EXPECT_EQ(found, constants);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include "ctl/flow_text.h"

#include <cstdio>

namespace ebpf::ctl {
namespace {

constexpr size_t kTitleColumns = 60;

std::string counted(size_t count, const std::string& what, const std::string& plural = "s") {
  return std::to_string(count) + " " + what + (count == 1 ? "" : plural);
}

void append_json_group(std::string& out, const FlowGroup& group,
                       const std::vector<KeptRecord>& records) {
  out += "{\"trace_ids\":[";
  for (size_t i = 0; i < group.trace_ids.size(); ++i) {
    out += (i == 0 ? "" : ",") + std::to_string(group.trace_ids[i]);
  }
  out += "],\"duration_us\":" + std::to_string(duration_us(group, records));
  out += ",\"hops\":" + std::to_string(group.hops.size());
  out += ",\"processes\":" + std::to_string(process_count(group, records)) + ",\"records\":[";
  for (size_t i = 0; i < group.records.size(); ++i) {
    if (i != 0) out += ',';
    append_json_record(out, records[group.records[i]].get());
    out.pop_back();  // its line's end
  }
  out += "]}\n";
}

}  // namespace

std::string group_title(const FlowGroup& group, const std::vector<KeptRecord>& records) {
  char milliseconds[32];
  std::snprintf(milliseconds, sizeof milliseconds, "%.3f ms",
                static_cast<double>(duration_us(group, records)) / 1000);
  std::string title = counted(group.hops.size(), "hop") + ", " +
                      counted(process_count(group, records), "process", "es") + ", " + milliseconds;
  const ebpf_record& first = records[group.records.front()].get();
  std::string line;
  append_first_line(line, ebpf_record_payload(&first), first.data.cap_len, kTitleColumns);
  return line.empty() ? title : title + ": " + line;
}

void append_group(std::string& out, RecordStyle style, const FlowGroup& group,
                  const std::vector<KeptRecord>& records) {
  if (style == RecordStyle::kJson) return append_json_group(out, group, records);
  out += "== " + group_title(group, records) + "\n";
  for (const size_t at : group.records) {
    if (style == RecordStyle::kHex) {
      append_hex_record(out, records[at].get());
    } else {
      append_text_record(out, records[at].get());
    }
  }
}

}  // namespace ebpf::ctl

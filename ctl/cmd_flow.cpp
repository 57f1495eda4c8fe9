// SPDX-License-Identifier: Apache-2.0
// ebpfctl flow ID|FILE: a request over all of its hops, as text or as a page for a browser.
#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "ctl/command_line.h"
#include "ctl/flow_html.h"
#include "ctl/flow_text.h"
#include "ctl/output_file.h"
#include "ctl/record_source.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

// More than a page can show, and what memory has room for.
constexpr size_t kRecordsMax = 200'000;
constexpr size_t kGroupsMax = 40;

struct FlowOptions {
  SourceOptions source;
  std::string target;
  std::string html;  // empty: text to standard output
  bool force = false;
  std::optional<uint64_t> trace_id;
};

// Digits are a trace id, everything else is a file; --from says that both are meant.
Result<> read_target(FlowOptions& flow) {
  uint64_t id = 0;
  const char* end = flow.target.data() + flow.target.size();
  const auto read = std::from_chars(flow.target.data(), end, id);
  if (read.ec == std::errc() && read.ptr == end && id != 0) {
    flow.trace_id = id;
    return Unit{};
  }
  if (!flow.source.file.empty()) {
    return Error{kBadOption, shown_word(flow.target) + " is no trace id: a number from 1 on"};
  }
  flow.source.file = flow.target;
  return Unit{};
}

std::vector<FlowGroup> chosen_groups(const FlowOptions& flow, std::vector<FlowGroup> groups) {
  if (!flow.trace_id) return groups;
  std::erase_if(groups, [&](const FlowGroup& group) {
    const auto& ids = group.trace_ids;
    return std::find(ids.begin(), ids.end(), *flow.trace_id) == ids.end();
  });
  return groups;
}

Result<Output> flow(const Options& options, FlowOptions flow) {
  if (auto read = read_target(flow); !read) return read.error();
  flow.source.oldest = flow.source.only_held = flow.source.file.empty();
  std::vector<KeptRecord> records;
  FlowPage page;
  page.source = flow.source.file.empty() ? "the ring" : flow.source.file;
  RecordHandler handler;
  handler.record = [&](const ebpf_record& record) {
    records.emplace_back(record);
    return records.size() < kRecordsMax;
  };
  handler.gap = [&](const ebpf_gap& gap, uint32_t) {
    page.lost += gap.count;
    return true;
  };
  auto end = read_records(options, flow.source, handler);
  if (!end) return end.error();
  warn_if_cut(flow.source, *end);

  std::vector<FlowGroup> groups = chosen_groups(flow, group_flows(records));
  if (groups.empty()) {
    const std::string what =
        flow.trace_id ? "no record with trace id " + std::to_string(*flow.trace_id) : "no record";
    return Error{EIO, what + " in " + escape(page.source)};
  }
  if (flow.html.empty()) {
    std::string text;
    const RecordStyle style = options.json() ? RecordStyle::kJson : RecordStyle::kText;
    for (const FlowGroup& group : groups) append_group(text, style, group, records);
    return Output(text);
  }
  if (groups.size() > kGroupsMax) {
    page.groups_left = groups.size() - kGroupsMax;
    groups.resize(kGroupsMax);
  }
  if (auto written = write_file(flow.html, flow_html(page, groups, records), flow.force);
      !written) {
    return written.error();
  }
  return Output("");
}

}  // namespace

void add_flow(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<FlowOptions>();
  CLI::App* command = app.add_subcommand("flow", "a request over all of its hops");
  command->fallthrough();
  command
      ->add_option("ID|FILE", chosen->target,
                   "a trace id that the ring still holds, or all of a recorded file")
      ->required()
      ->check(file_name());
  command->add_option("--html", chosen->html, "write a page with the sequence diagram (mode 0600)")
      ->check(file_name());
  command->add_flag("--force", chosen->force, "replace the page if there is one");
  command->add_option("--from", chosen->source.file, "look for the id in this recorded file")
      ->check(file_name());
  command->callback([&, chosen] { action = [&, chosen] { return flow(options, *chosen); }; });
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// ebpfctl tail: prints records as they come, or those of a recorded file.
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "consumer/view/record_printer.h"
#include "ctl/command_line.h"
#include "ctl/flow_text.h"
#include "ctl/record_source.h"
#include "producer/wall_clock.h"

namespace ebpf::ctl {
namespace {

struct TailOptions {
  SourceOptions source;
  std::string output;  // empty: as for all commands
  bool by_trace = false;
};

Result<Output> written(const StreamOutput& output) {
  if (!output.failed()) return Output("");
  return Error{EIO, errno_error("cannot write the output", output.error()).message};
}

// Holds records back until their request is complete: that is, until nothing has come that
// belongs to it for a while.
class TraceGroups {
 public:
  TraceGroups(RecordStyle style, StreamOutput& output) : style_(style), output_(output) {}

  void add(const ebpf_record& record) {
    records_.emplace_back(record);
    newest_us_ = std::max(newest_us_, record.data.timestamp);
    if (records_.size() >= kRecordsMax) print(newest_us_);
  }
  void print_quiet(uint64_t now_us) {
    if (now_us > kQuietUs) print(now_us - kQuietUs);
  }
  // Groups whose last record is no younger than that; the others stay.
  void print(uint64_t until_us) {
    if (records_.empty()) return;
    std::vector<FlowGroup> groups = group_flows(records_);
    std::vector<KeptRecord> rest;
    for (const FlowGroup& group : groups) {
      if (records_[group.records.back()].data().timestamp <= until_us) {
        append_group(output_.text(), style_, group, records_);
        output_.flush_when_due();
        continue;
      }
      for (const size_t at : group.records) rest.push_back(std::move(records_[at]));
    }
    records_ = std::move(rest);
  }

 private:
  static constexpr uint64_t kQuietUs = 1'000'000;
  static constexpr size_t kRecordsMax = 20'000;

  RecordStyle style_;
  StreamOutput& output_;
  std::vector<KeptRecord> records_;
  uint64_t newest_us_ = 0;
};

Result<Output> tail_by_trace(const Options& options, const TailOptions& tail, RecordStyle style) {
  StreamOutput output(STDOUT_FILENO, stop_requested());
  RecordPrinter printer(style, output);
  TraceGroups groups(style, output);
  RecordHandler handler;
  handler.record = [&](const ebpf_record& record) {
    groups.add(record);
    return !output.failed();
  };
  handler.gap = [&](const ebpf_gap& gap, uint32_t lane) {
    printer.gap(gap, lane);
    return !output.failed();
  };
  handler.idle = [&] {
    if (tail.source.file.empty()) groups.print_quiet(wall_us());
    output.flush();
    return !output.failed();
  };
  auto end = read_records(options, tail.source, handler);
  groups.print(UINT64_MAX);
  output.flush();
  if (!end) return end.error();
  warn_if_cut(tail.source, *end);
  return written(output);
}

Result<Output> tail(const Options& options, const TailOptions& tail) {
  const RecordStyle style = record_style(tail.output.empty() ? options.output : tail.output);
  if (tail.by_trace) return tail_by_trace(options, tail, style);
  StreamOutput output(STDOUT_FILENO, stop_requested());
  RecordPrinter printer(style, output);
  RecordHandler handler;
  handler.record = [&](const ebpf_record& record) {
    printer.record(record);
    return !output.failed();
  };
  handler.gap = [&](const ebpf_gap& gap, uint32_t lane) {
    printer.gap(gap, lane);
    return !output.failed();
  };
  handler.idle = [&] {
    output.flush();
    return !output.failed();
  };
  auto end = read_records(options, tail.source, handler);
  output.flush();
  if (!end) return end.error();
  warn_if_cut(tail.source, *end);
  return written(output);
}

}  // namespace

void add_tail(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<TailOptions>();
  CLI::App* command = app.add_subcommand("tail", "records as they come, or those of a file");
  command->fallthrough();
  command->add_option("-o,--output", chosen->output, "how to print them (default: text)")
      ->check(one_of({"text", "json", "hex"}));
  command->add_flag("--by-trace", chosen->by_trace,
                    "each request with all of its hops, when it is complete");
  chosen->source.declare_source(*command);
  chosen->source.declare_filter(*command);
  chosen->source.declare_limits(*command);
  command->callback([&, chosen] { action = [&, chosen] { return tail(options, *chosen); }; });
}

}  // namespace ebpf::ctl

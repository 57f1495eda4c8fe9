// SPDX-License-Identifier: Apache-2.0
// ebpfctl tail: prints records as they come, or those of a recorded file.
#include <unistd.h>

#include <memory>

#include "consumer/view/record_printer.h"
#include "ctl/command_line.h"
#include "ctl/record_source.h"

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

Result<Output> tail(const Options& options, const TailOptions& tail) {
  StreamOutput output(STDOUT_FILENO, stop_requested());
  RecordPrinter printer(record_style(tail.output.empty() ? options.output : tail.output), output);
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
  chosen->source.declare_source(*command);
  chosen->source.declare_filter(*command);
  chosen->source.declare_limits(*command);
  command->callback([&, chosen] { action = [&, chosen] { return tail(options, *chosen); }; });
}

}  // namespace ebpf::ctl

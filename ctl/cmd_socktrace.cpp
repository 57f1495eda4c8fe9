// SPDX-License-Identifier: Apache-2.0
// ebpfctl socktrace show
#include <CLI/CLI.hpp>

#include "consumer/control_client.h"
#include "ctl/command.h"
#include "ctl/format.h"

namespace ebpf::ctl {
namespace {

Result<Output> show(const Options& options) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  auto stats = client->get_stats();
  if (!stats) return stats.error();
  auto offsets = client->get_offsets();
  if (!offsets) return offsets.error();
  if (options.json()) return Output(socktrace_json(*stats, *offsets));
  return Output(socktrace_text(*stats, *offsets, {options.verbose, options.color}));
}

}  // namespace

void add_socktrace(CLI::App& app, const Options& options, Action& action) {
  CLI::App* socktrace = app.add_subcommand("socktrace", "the kernel side");
  socktrace->require_subcommand(1)->fallthrough();
  socktrace->add_subcommand("show", "kernel, maps, offsets per CPU")->fallthrough()->callback([&] {
    action = Action::repeatable([&] { return show(options); });
  });
}

}  // namespace ebpf::ctl

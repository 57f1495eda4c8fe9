// SPDX-License-Identifier: Apache-2.0
// ebpfctl tracer show | start | stop
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
  if (options.json()) return Output(tracer_json(*stats));
  return Output(tracer_text(*stats, {options.verbose, options.color}));
}

Result<Output> change_state(const Options& options, uint8_t wanted) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  auto done = wanted == TRACER_RUNNING ? client->start() : client->stop();
  if (!done) return done.error();
  return Output(options.json() ? tracer_state_json(wanted) : tracer_state_text(wanted));
}

}  // namespace

void add_tracer(CLI::App& app, const Options& options, Action& action) {
  CLI::App* tracer = app.add_subcommand("tracer", "the tracer as a whole");
  tracer->require_subcommand(1)->fallthrough();
  tracer->add_subcommand("show", "state, queues, losses, protocols")->fallthrough()->callback([&] {
    action = Action::repeatable([&] { return show(options); });
  });
  tracer->add_subcommand("start", "go on tracing")->fallthrough()->callback([&] {
    action = [&] { return change_state(options, TRACER_RUNNING); };
  });
  tracer->add_subcommand("stop", "pause tracing")->fallthrough()->callback([&] {
    action = [&] { return change_state(options, TRACER_STOP); };
  });
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// ebpfctl ring show | evict ID, and ebpfctl loss show
#include <CLI/CLI.hpp>
#include <memory>

#include "ctl/command_line.h"
#include "ctl/format_ring.h"
#include "ctl/ring_status.h"

namespace ebpf::ctl {
namespace {

template <class Text, class Json>
Result<Output> show(const Options& options, Text text, Json json) {
  auto status = ask_ring_status(options);
  if (!status) return status.error();
  if (options.json()) return Output(json(status->ring, status->stats));
  return Output(text(status->ring, status->stats, TextStyle{options.verbose, options.color}));
}

Result<Output> evict(const Options& options, uint32_t id) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  if (auto done = client->evict(id); !done) return done.error();
  return Output(options.json() ? evicted_json(id) : evicted_text(id));
}

}  // namespace

void add_ring(CLI::App& app, const Options& options, Action& action) {
  CLI::App* ring = app.add_subcommand("ring", "the ring and its consumers");
  ring->require_subcommand(1)->fallthrough();
  ring->add_subcommand("show", "lanes, window, rate; each consumer's position and losses")
      ->fallthrough()
      ->callback([&] {
        action = Action::repeatable([&] { return show(options, ring_text, ring_json); });
      });
  CLI::App* command = ring->add_subcommand("evict", "detach a consumer; it is told why");
  const auto id = std::make_shared<uint32_t>(0);
  command->add_option("ID", *id, "as ring show names it")
      ->required()
      ->check(whole_number(1, UINT32_MAX));
  command->fallthrough()->callback(
      [&, id] { action = [&options, id] { return evict(options, *id); }; });
}

void add_loss(CLI::App& app, const Options& options, Action& action) {
  CLI::App* loss = app.add_subcommand("loss", "what was lost, where and why");
  loss->require_subcommand(1)->fallthrough();
  loss->add_subcommand("show", "every stage from the system call to each consumer")
      ->fallthrough()
      ->callback([&] {
        action = Action::repeatable([&] { return show(options, loss_text, loss_json); });
      });
}

}  // namespace ebpf::ctl

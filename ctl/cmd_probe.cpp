// SPDX-License-Identifier: Apache-2.0
// ebpfctl probe show, and ebpfctl map show
#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "ctl/command_line.h"
#include "ctl/format_ring.h"

namespace ebpf::ctl {
namespace {

using Clock = std::chrono::steady_clock;

// Short enough to answer at once; a machine that does anything runs the programs hundreds of
// times in it.
constexpr double kLookS = 0.02;

// The connection stays: the kernel counts while it is open. A --watch compares with its last look.
class ProbeShow {
 public:
  explicit ProbeShow(const Options& options) : options_(options) {}

  double look_s = kLookS;

  Result<Output> run() {
    if (!client_) {
      if (auto first = begin(); !first) return first.error();
    }
    auto now = client_->get_programs();
    if (!now) return now.error();
    const auto at = Clock::now();
    const double seconds = std::chrono::duration<double>(at - before_at_).count();
    Output output(options_.json()
                      ? programs_json(before_, *now, seconds)
                      : programs_text(before_, *now, seconds, {options_.verbose, options_.color}));
    before_ = std::move(*now);
    before_at_ = at;
    return output;
  }

 private:
  Result<> begin() {
    auto client = ControlClient::connect(options_.socket_path);
    if (!client) return client.error();
    client_.emplace(std::move(*client));
    auto first = client_->get_programs();
    if (!first) return first.error();
    before_ = std::move(*first);
    before_at_ = Clock::now();
    if (before_.statistics == EBPF_STATISTICS_ON) {
      std::this_thread::sleep_for(std::chrono::duration<double>(look_s));
    }
    return Unit{};
  }

  const Options& options_;
  std::optional<ControlClient> client_;
  ProgramList before_{};
  Clock::time_point before_at_;
};

Result<Output> show_maps(const Options& options) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  auto maps = client->get_maps();
  if (!maps) return maps.error();
  if (options.json()) return Output(maps_json(*maps));
  return Output(maps_text(*maps, {options.verbose, options.color}));
}

}  // namespace

void add_probe(CLI::App& app, const Options& options, Action& action) {
  CLI::App* probe = app.add_subcommand("probe", "the BPF programs");
  probe->require_subcommand(1)->fallthrough();
  CLI::App* command =
      probe->add_subcommand("show", "attach point, runs, time per run and misses of each program");
  const auto show = std::make_shared<ProbeShow>(options);
  command->add_option("--for", show->look_s, "count runs for so many seconds (default: 0.02)")
      ->check(decimal_number(0, 3600));
  command->fallthrough()->callback(
      [&action, show] { action = Action::repeatable([show] { return show->run(); }); });
}

void add_map(CLI::App& app, const Options& options, Action& action) {
  CLI::App* map = app.add_subcommand("map", "the BPF maps");
  map->require_subcommand(1)->fallthrough();
  map->add_subcommand("show", "type, entries and memory of each map")->fallthrough()->callback([&] {
    action = Action::repeatable([&] { return show_maps(options); });
  });
}

}  // namespace ebpf::ctl

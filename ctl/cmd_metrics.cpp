// SPDX-License-Identifier: Apache-2.0
// ebpfctl metrics [--listen ADDRESS]
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <mutex>

#include "consumer/control_client.h"
#include "ctl/command.h"
#include "ctl/command_line.h"
#include "ctl/metrics.h"
#include "ctl/metrics_server.h"
#include "ctl/terminal.h"

namespace ebpf::ctl {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFreshFor{100};

uint64_t now_us() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

Result<MetricFamilies> ask_metrics(const Options& options) {
  auto client = ControlClient::connect(options.socket_path);
  if (!client) return client.error();
  auto stats = client->get_stats();
  if (!stats) return stats.error();
  return metrics_of(*stats, now_us());
}

Result<Output> show(const Options& options) {
  auto families = ask_metrics(options);
  if (!families) return families.error();
  return Output(options.json() ? metrics_json(*families) : metrics_text(*families));
}

// However many clients scrape, the producer is asked ten times a second at most.
class Snapshots {
 public:
  explicit Snapshots(const Options& options) : options_(options) {}

  MetricFamilies take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!families_.empty() && steady_clock::now() - taken_ < kFreshFor) return families_;
    auto asked = ask_metrics(options_);
    tell(asked ? std::string() : asked.error().message);
    families_ = asked ? std::move(*asked) : metrics_without_producer();
    taken_ = steady_clock::now();
    return families_;
  }

 private:
  // Once for each thing that is wrong, not for every scrape.
  void tell(const std::string& problem) {
    if (problem != problem_ && !problem.empty()) {
      std::fprintf(stderr, "ebpfctl: %s\n", problem.c_str());
    }
    problem_ = problem;
  }

  const Options& options_;
  std::mutex mutex_;
  MetricFamilies families_;
  steady_clock::time_point taken_{};
  std::string problem_;
};

Result<Output> serve(const Options& options, const std::string& listen) {
  if (options.json()) return Error{kBadOption, "--listen serves Prometheus text, not -o json"};
  if (options.watch_s > 0) return Error{kBadOption, "--watch does not go with --listen"};
  auto address = parse_listen_address(listen);
  if (!address) return Error{kBadOption, address.error().message};
  Snapshots snapshots(options);
  auto served = serve_metrics(
      *address, [&] { return snapshots.take(); },
      [](const std::string& url) { return write_output("listening: " + url + "\n"); });
  if (!served) return served.error();
  return Output("");
}

CLI::Validator listen_address() {
  return {[](std::string& text) {
            auto address = parse_listen_address(text);
            return address ? std::string() : address.error().message;
          },
          "ADDRESS", "listen_address"};
}

}  // namespace

void add_metrics(CLI::App& app, const Options& options, Action& action) {
  CLI::App* metrics = app.add_subcommand("metrics", "the producer's figures for Prometheus");
  metrics->fallthrough();
  auto listen = std::make_shared<std::string>();
  metrics
      ->add_option("--listen", *listen,
                   "serve them at http://ADDRESS/metrics: PORT (of 127.0.0.1), IPV4:PORT or "
                   "[IPV6]:PORT")
      ->check(listen_address());
  metrics->callback([&options, &action, listen] {
    if (listen->empty()) {
      action = Action::repeatable([&options] { return show(options); });
    } else {
      action = [&options, listen] { return serve(options, *listen); };
    }
  });
}

}  // namespace ebpf::ctl

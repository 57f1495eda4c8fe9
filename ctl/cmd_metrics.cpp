// SPDX-License-Identifier: Apache-2.0
// ebpfctl metrics [--listen ADDRESS] [--per-consumer]
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>

#include "ctl/command.h"
#include "ctl/command_line.h"
#include "ctl/metrics.h"
#include "ctl/metrics_server.h"
#include "ctl/ring_status.h"
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

struct MetricsOptions {
  std::string listen;
  bool per_consumer = false;
};

Result<MetricFamilies> ask_metrics(const Options& options, bool per_consumer) {
  auto status = ask_ring_status(options);
  if (!status) return status.error();
  return metrics_of({status->stats, std::move(status->ring), now_us()}, per_consumer);
}

Result<Output> show(const Options& options, bool per_consumer) {
  auto families = ask_metrics(options, per_consumer);
  if (!families) return families.error();
  return Output(options.json() ? metrics_json(*families) : metrics_text(*families));
}

// However many clients scrape, the producer is asked ten times a second at most.
class Snapshots {
 public:
  Snapshots(const Options& options, bool per_consumer)
      : options_(options), per_consumer_(per_consumer) {}

  MetricFamilies take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!families_.empty() && steady_clock::now() - taken_ < kFreshFor) return families_;
    auto asked = ask_metrics(options_, per_consumer_);
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
  const bool per_consumer_;
  std::mutex mutex_;
  MetricFamilies families_;
  steady_clock::time_point taken_{};
  std::string problem_;
};

Result<Output> serve(const Options& options, const MetricsOptions& metrics) {
  if (options.json()) return Error{kBadOption, "--listen serves Prometheus text, not -o json"};
  if (options.watch_s > 0) return Error{kBadOption, "--watch does not go with --listen"};
  auto address = parse_listen_address(metrics.listen);
  if (!address) return Error{kBadOption, address.error().message};
  Snapshots snapshots(options, metrics.per_consumer);
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
  auto chosen = std::make_shared<MetricsOptions>();
  metrics
      ->add_option("--listen", chosen->listen,
                   "serve them at http://ADDRESS/metrics: PORT (of 127.0.0.1), IPV4:PORT or "
                   "[IPV6]:PORT")
      ->check(listen_address());
  metrics->add_flag("--per-consumer", chosen->per_consumer,
                    "also series for each consumer, with its process");
  metrics->callback([&options, &action, chosen] {
    if (chosen->listen.empty()) {
      action =
          Action::repeatable([&options, chosen] { return show(options, chosen->per_consumer); });
    } else {
      action = [&options, chosen] { return serve(options, *chosen); };
    }
  });
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// drain_bench: how much the way from the kernel's buffers to a consumer carries, how long it takes,
// and what it costs when nothing happens. docs/BENCHMARKS.md says how to read it. Needs root.
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "drain_parts.h"
#include "report.h"

namespace ebpf::bench {
namespace {

struct CommandLine {
  DrainBenchOptions options;
  std::vector<std::string> only;
  std::string json;
};

using Measure = Result<Json> (*)(const DrainBenchOptions&);
const struct {
  const char* name;
  Measure measure;
} kParts[] = {{"rates", measure_rates},
              {"paced", measure_paced},
              {"latency", measure_drain_latency},
              {"idle", measure_idle}};

// For tables.py: "rates", "paced" and "latency" are lists of rows with spreads ({median, min, max,
// each}) of emitted_per_s, delivered_per_s, lost, drain_ns_per_event and drain_cpu_percent; what
// tells rows apart is transport, bytes, per_s, cpus, mode. "latency" adds p50_us, p99_us, p999_us.
// "idle" has one number for each of its columns.
bool measure(const CommandLine& line, Json& document) {
  for (const auto& part : kParts) {
    const auto& only = line.only;
    if (!only.empty() && std::find(only.begin(), only.end(), part.name) == only.end()) continue;
    auto rows = part.measure(line.options);
    if (!rows) {
      std::cerr << "drain_bench: " << part.name << ": " << rows.error().message << '\n';
      return false;
    }
    document[part.name] = *rows;
  }
  document["figures"] = judge_drain(document);
  return true;
}

int run(CommandLine& line) {
  char directory[] = "/tmp/drain_bench.XXXXXX";
  if (mkdtemp(directory) == nullptr) {
    std::cerr << "drain_bench: cannot make a directory in /tmp\n";
    return 1;
  }
  line.options.directory = directory;
  Json document = begin_document("drain_bench");
  document["settings"] = {{"rounds", line.options.rounds},
                          {"seconds", line.options.seconds},
                          {"idle_seconds", line.options.idle_seconds},
                          {"producer", line.options.producer},
                          {"quick", line.options.quick}};
  const bool measured = measure(line, document);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  if (!measured) return 1;

  std::FILE* out = line.json == "-" ? stderr : stdout;
  print_drain(out, document);
  print_figures(out, document["figures"]);
  return line.json.empty() || write_document(line.json, document) ? 0 : 1;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) {
  ebpf::bench::CommandLine line;
  CLI::App app{"Measures the way from the kernel's buffers to a consumer"};
  auto* rounds = app.add_option("--rounds", line.options.rounds, "Rounds, all rows in turn")
                     ->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", line.options.seconds, "Seconds of each storm")
                      ->check(CLI::Range(0.01, 60.0));
  auto* idle = app.add_option("--idle-seconds", line.options.idle_seconds,
                              "Seconds that an idle producer is looked at")
                   ->check(CLI::Range(0.1, 600.0));
  app.add_flag("--quick", line.options.quick, "A few seconds: checks, measures little");
  app.add_option("--only", line.only, "Some parts only: rates, paced, latency, idle")
      ->check(CLI::IsMember({"rates", "paced", "latency", "idle"}));
  app.add_option("--producer", line.options.producer,
                 "One more argument of the producer, such as --producer=--perf-pages=128");
  app.add_option("--json", line.json, "Write the figures to this file; to stdout without one")
      ->expected(0, 1)
      ->default_str("-");
  CLI11_PARSE(app, argc, argv);
  if (line.options.quick) {
    if (rounds->empty()) line.options.rounds = 1;
    if (seconds->empty()) line.options.seconds = 0.05;
    if (idle->empty()) line.options.idle_seconds = 0.5;
  }
  if (geteuid() != 0) {
    std::cerr << "drain_bench: needs root, as it loads BPF programs\n";
    return 77;
  }
  return ebpf::bench::run(line);
}

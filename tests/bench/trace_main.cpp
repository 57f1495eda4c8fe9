// SPDX-License-Identifier: Apache-2.0
// trace_bench: what tracing costs, and how much the way from the kernel to the ring carries.
// docs/BENCHMARKS.md says how to read it. Needs root.
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "report.h"
#include "trace_cost.h"

namespace ebpf::bench {
namespace {

struct CommandLine {
  CostOptions cost;
  std::string json;
};

int run(CommandLine& line) {
  char directory[] = "/tmp/trace_bench.XXXXXX";
  if (mkdtemp(directory) == nullptr) {
    std::cerr << "trace_bench: cannot make a directory in /tmp\n";
    return 1;
  }
  line.cost.directory = directory;
  Json document = begin_document("trace_bench");
  document["settings"] = {{"rounds", line.cost.rounds}, {"quick", line.cost.quick}};
  document["cost"] = measure_cost(line.cost);
  document["figures"] = judge_cost(document["cost"]);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);

  const bool to_stdout = line.json == "-";
  std::FILE* out = to_stdout ? stderr : stdout;
  print_cost(out, document["cost"]);
  print_figures(out, document["figures"]);
  return line.json.empty() || write_document(line.json, document) ? 0 : 1;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) {
  ebpf::bench::CommandLine line;
  CLI::App app{"Measures what tracing costs the traced process and the producer"};
  auto* rounds = app.add_option("--rounds", line.cost.rounds, "Rounds, all rows in turn")
                     ->check(CLI::Range(1, 1000));
  app.add_flag("--quick", line.cost.quick, "Two rounds, without other tools");
  app.add_flag("!--no-others", line.cost.others, "Without tcpdump, bpftrace and strace");
  app.add_option("--only", line.cost.only, "Of our back ends, the one whose name begins so");
  app.add_option("--object", line.cost.objects,
                 "Each of our back ends once more with the BPF object of this file, in turns");
  app.add_option("--work", line.cost.works, "pair, write_null, write_file, getuid; all without");
  app.add_option("--json", line.json, "Write the figures to this file; to stdout without one")
      ->expected(0, 1)
      ->default_str("-");
  CLI11_PARSE(app, argc, argv);
  if (line.cost.quick) line.cost.others = false;
  if (line.cost.quick && rounds->empty()) line.cost.rounds = 2;
  if (geteuid() != 0) {
    std::cerr << "trace_bench: needs root, as it loads BPF programs\n";
    return 77;
  }
  return ebpf::bench::run(line);
}

// SPDX-License-Identifier: Apache-2.0
// ring_bench: measures the ring beside what people would otherwise use. Tables go to the
// terminal, the same figures to a JSON document. docs/BENCHMARKS.md says how to read them.
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "report.h"
#include "transport.h"

namespace ebpf::bench {
namespace {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/ring_bench.XXXXXX";
    if (mkdtemp(name) != nullptr) path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct CommandLine {
  BenchOptions bench;
  std::string json;
  std::vector<std::string> only;
  uint64_t ring_mib = 16;
};

bool wants(const CommandLine& line, const std::string& part) {
  return line.only.empty() ||
         std::find(line.only.begin(), line.only.end(), part) != line.only.end();
}

Json measure(const CommandLine& line) {
  Json document = begin_document("ring_bench");
  document["settings"] = {{"rounds", line.bench.rounds},
                          {"seconds", line.bench.seconds},
                          {"ring_mib", line.ring_mib},
                          {"quick", line.bench.quick}};
  if (wants(line, "throughput")) document["throughput"] = measure_throughput(line.bench);
  if (wants(line, "latency")) document["latency"] = measure_latency(line.bench);
  if (wants(line, "cpu")) document["producer_cpu"] = measure_producer_cpu(line.bench);
  end_iceoryx();
  document["figures"] = judge(document);
  document["errors"] = count_errors(document);
  return document;
}

int run(CommandLine& line) {
  const TemporaryDirectory directory;
  if (directory.path().empty()) {
    std::cerr << "ring_bench: cannot make a directory in /tmp\n";
    return 1;
  }
  line.bench.directory = directory.path();
  line.bench.ring_bytes = line.ring_mib << 20;
  const Json document = measure(line);

  const bool to_stdout = line.json == "-";
  print_tables(to_stdout ? stderr : stdout, document);
  if (!line.json.empty() && !write_document(line.json, document)) return 1;
  const uint64_t errors = document["errors"];
  if (errors > 0) std::cerr << "ring_bench: " << errors << " errors, see above\n";
  return errors > 0 ? 1 : 0;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) {
  ebpf::bench::CommandLine line;
  CLI::App app{"Measures the ring beside what people would otherwise use"};
  app.add_flag("--quick", line.bench.quick, "A few seconds; the figures mean little");
  auto* rounds =
      app.add_option("--rounds", line.bench.rounds, "Rounds; medians are taken over them")
          ->check(CLI::Range(1, 1000));
  auto* seconds = app.add_option("--seconds", line.bench.seconds, "Of writing in each run")
                      ->check(CLI::Range(0.001, 60.0));
  app.add_option("--ring-mib", line.ring_mib, "Size of the ring's window")
      ->check(CLI::Range(1, 4096));
  app.add_option("--json", line.json, "Write the figures to this file; to stdout without one")
      ->expected(0, 1)
      ->default_str("-");
  app.add_option("--only", line.only, "throughput, latency, cpu; all of them otherwise")
      ->check(CLI::IsMember({"throughput", "latency", "cpu"}));
  CLI11_PARSE(app, argc, argv);
  if (line.bench.quick && rounds->empty()) line.bench.rounds = 1;
  if (line.bench.quick && seconds->empty()) line.bench.seconds = 0.03;
  return ebpf::bench::run(line);
}

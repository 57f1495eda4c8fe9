// SPDX-License-Identifier: Apache-2.0
// What a record costs the producer's thread, flat out in bursts of 16, with so many
// consumers attached, and with ones that stop or that do harm. Plain memcpy of the same
// bytes is measured in turns with it, by the same thread.
#include <cstdio>
#include <vector>

#include "experiments.h"
#include "run.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

struct Cell {
  const char* name;
  uint32_t record_bytes;
  uint32_t consumers;
  Wait wait;
  Oddity oddity;
  std::vector<double> ring_ns, memcpy_ns, ratio;
  uint64_t errors = 0;
  std::string failure;
};

std::vector<Cell> choose_cells(bool quick) {
  std::vector<Cell> cells;
  const auto add = [&](const char* name, uint32_t bytes, uint32_t consumers, Wait wait,
                       Oddity oddity) {
    cells.push_back({name, bytes, consumers, wait, oddity, {}, {}, {}});
  };
  for (const uint32_t consumers : {0u, 1u, 2u, 4u, 8u}) {
    if (quick && consumers == 4) continue;
    add("reading", 672, consumers, Wait::kSpin, Oddity::kNone);
  }
  add("sleeping between bursts", 672, 8, Wait::kSleep, Oddity::kNone);
  add("one reads, one is stopped", 672, 2, Wait::kSpin, Oddity::kStopped);
  add("one reads, one is hostile", 672, 1, Wait::kSpin, Oddity::kHostile);
  if (quick) return cells;
  for (const uint32_t bytes : {224u, 16000u}) {
    for (const uint32_t consumers : {0u, 1u, 8u}) {
      add("reading", bytes, consumers, Wait::kSpin, Oddity::kNone);
    }
  }
  return cells;
}

void run_cell(Cell& cell, const BenchOptions& options) {
  if (!cell.failure.empty()) return;
  RunOptions run;
  run.channel.record_bytes = cell.record_bytes;
  run.channel.consumers = cell.consumers;
  run.channel.ring_bytes = options.ring_bytes;
  run.channel.wait = cell.wait;
  run.channel.directory = options.directory;
  run.pace = Pace::kPhases;
  run.oddity = cell.oddity;
  run.pinned = true;
  run.seconds = options.seconds;
  auto result = run_once(kRing, run);
  if (!result) {
    cell.failure = result.error().message;
    return;
  }
  for (size_t i = 0; i < result->ring_ns.size(); ++i) {
    cell.ring_ns.push_back(result->ring_ns[i]);
    cell.memcpy_ns.push_back(result->memcpy_ns[i]);
    cell.ratio.push_back(result->ring_ns[i] / result->memcpy_ns[i]);
  }
  for (const ConsumerResult& each : result->consumers) {
    cell.errors += each.errors;
    if (each.delivered + each.lost != result->published) ++cell.errors;
  }
  if (!result->first_error.empty()) {
    std::fprintf(stderr, "ring_bench: %s: %s\n", cell.name, result->first_error.c_str());
  }
}

Json to_json(const Cell& cell) {
  Json json{{"consumers", cell.consumers + (cell.oddity == Oddity::kHostile ? 1 : 0)},
            {"they", cell.consumers == 0 ? "" : cell.name},
            {"record_bytes", cell.record_bytes},
            {"payload_bytes", cell.record_bytes - kHeadBytes}};
  if (!cell.failure.empty()) {
    json["failure"] = cell.failure;
    return json;
  }
  json["ring_ns"] = spread(cell.ring_ns);
  json["memcpy_ns"] = spread(cell.memcpy_ns);
  json["ratio"] = spread(cell.ratio);
  json["errors"] = cell.errors;
  return json;
}

}  // namespace

Json measure_producer_cpu(const BenchOptions& options) {
  std::vector<Cell> cells = choose_cells(options.quick);
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (Cell& cell : cells) run_cell(cell, options);
  }
  Json rows = Json::array();
  for (const Cell& cell : cells) rows.push_back(to_json(cell));
  return rows;
}

}  // namespace ebpf::bench

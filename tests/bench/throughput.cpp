// SPDX-License-Identifier: Apache-2.0
// Records per second, from one producer to 1..8 consumers. Flat out, the producer waits for
// nobody and readers that cannot keep up are lapped: what they lose is part of the result.
// Lossless, it is the highest rate at which nobody loses anything.
#include <cstdio>
#include <vector>

#include "experiments.h"
#include "run.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

struct Cell {
  const Transport* transport;
  Pace pace;
  uint32_t record_bytes;
  uint32_t consumers;
  // Results, one per round.
  std::vector<double> published_per_s;
  std::vector<double> slowest_per_s;
  std::vector<double> mean_per_s;
  uint64_t published = 0;
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t errors = 0;
  std::string failure;
};

std::vector<Cell> choose_cells(bool quick) {
  std::vector<Cell> cells;
  const auto add = [&](const Transport& transport, Pace pace, uint32_t bytes, uint32_t consumers) {
    cells.push_back({&transport, pace, bytes, consumers, {}, {}, {}});
  };
  for (const uint32_t bytes : {672u, 224u, 16000u}) {
    for (const uint32_t consumers : {1u, 2u, 4u, 8u}) {
      if (quick && (bytes != 672 ? consumers > 1 : consumers == 4)) continue;
      add(kRing, Pace::kLossless, bytes, consumers);
      // The others stand beside it: for the record size that matters most, and 1→2 for all.
      if (quick ? bytes == 672 && consumers == 2 : bytes == 672 || consumers == 2) {
        for (const Transport* other : {&kBare, &kIceoryx, &kMessageQueue, &kSeqpacket, &kPipe}) {
          add(*other, Pace::kLossless, bytes, consumers);
        }
      }
      add(kRing, Pace::kFlatOut, bytes, consumers);
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
  run.channel.directory = options.directory;
  run.pace = cell.pace;
  run.seconds = options.seconds;
  auto result = run_once(*cell.transport, run);
  if (!result) {
    cell.failure = result.error().message;
    return;
  }
  double slowest = 0;
  double sum = 0;
  for (const ConsumerResult& each : result->consumers) {
    slowest = sum == 0 ? each.per_s : std::min(slowest, each.per_s);
    sum += each.per_s;
    cell.delivered += each.delivered;
    cell.lost += each.lost;
    cell.errors += each.errors;
    // Exact accounting: nothing that was published goes unmentioned.
    if (each.delivered + each.lost != result->published && result->first_error.empty()) {
      ++cell.errors;
      result->first_error = "delivered " + std::to_string(each.delivered) + " + lost " +
                            std::to_string(each.lost) + " is not published " +
                            std::to_string(result->published);
    }
  }
  cell.published += result->published;
  cell.published_per_s.push_back(result->published_per_s);
  cell.slowest_per_s.push_back(slowest);
  cell.mean_per_s.push_back(sum / cell.consumers);
  if (!result->first_error.empty()) {
    std::fprintf(stderr, "ring_bench: %s 1->%u: %s\n", cell.transport->name, cell.consumers,
                 result->first_error.c_str());
  }
}

Json to_json(const Cell& cell) {
  Json json{{"transport", cell.transport->name},
            {"mode", cell.pace == Pace::kFlatOut ? "flat-out" : "lossless"},
            {"record_bytes", cell.record_bytes},
            {"payload_bytes", cell.record_bytes - kHeadBytes},
            {"consumers", cell.consumers}};
  if (!cell.failure.empty()) {
    json["failure"] = cell.failure;
    return json;
  }
  json["published_per_s"] = spread(cell.published_per_s);
  json["delivered_per_s_mean"] = spread(cell.mean_per_s);
  json["delivered_per_s_slowest"] = spread(cell.slowest_per_s);
  json["published"] = cell.published;
  json["delivered"] = cell.delivered;
  json["lost"] = cell.lost;
  json["errors"] = cell.errors;
  return json;
}

}  // namespace

Json measure_throughput(const BenchOptions& options) {
  std::vector<Cell> cells = choose_cells(options.quick);
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (Cell& cell : cells) run_cell(cell, options);
  }
  Json rows = Json::array();
  for (const Cell& cell : cells) rows.push_back(to_json(cell));
  return rows;
}

}  // namespace ebpf::bench

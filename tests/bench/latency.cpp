// SPDX-License-Identifier: Apache-2.0
// One-way latency of single records: from just before the write to the first instruction of
// the reader's callback, on two CPUs, with a reader that spins and with one that sleeps.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "experiments.h"
#include "run.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

constexpr uint32_t kRecordBytes = 672;
constexpr long kAwakePauseUs = 10;
constexpr long kAsleepPauseUs = 200;  // long enough to fall asleep in

// What the machine itself needs: half the time in which one cache line goes from the first
// CPU to the last and another one comes back. A hypervisor may move its CPUs to cores that
// share a cache, and to others that do not, between one round and the next.
class LineTrips {
 public:
  void run(uint32_t trips) {
    struct alignas(64) Line {
      std::atomic<uint32_t> value{0};
    };
    Line there, back;
    std::vector<double> took_ns;
    std::thread far([&] {
      pin_to(Cpu::kLast);
      for (uint32_t i = 1; i <= trips; ++i) {
        while (there.value.load(std::memory_order_acquire) != i) relax();
        back.value.store(i, std::memory_order_release);
      }
    });
    std::thread near([&] {
      pin_to(Cpu::kFirst);
      for (uint32_t i = 1; i <= trips; ++i) {
        const uint64_t sent_ns = now_ns();
        there.value.store(i, std::memory_order_release);
        while (back.value.load(std::memory_order_acquire) != i) relax();
        took_ns.push_back(static_cast<double>(now_ns() - sent_ns) / 2);
      }
    });
    near.join();
    far.join();
    samples_ += trips;
    p50_.push_back(quantile(took_ns, 0.5));
    p99_.push_back(quantile(took_ns, 0.99));
    p999_.push_back(quantile(took_ns, 0.999));
  }

  Json to_json() const {
    return {{"transport", "one cache line"},
            {"reader", "awake"},
            {"record_bytes", kLine},
            {"p50_ns", spread(p50_)},
            {"p99_ns", spread(p99_)},
            {"p999_ns", spread(p999_)},
            {"samples", samples_},
            {"lost", 0},
            {"errors", 0}};
  }

 private:
  std::vector<double> p50_, p99_, p999_;  // by round
  uint64_t samples_ = 0;
};

struct Cell {
  const Transport* transport;
  Wait wait;
  std::vector<double> p50, p99, p999;  // by round
  uint64_t samples = 0;
  uint64_t errors = 0;
  uint64_t lost = 0;
  std::string failure;
};

void run_cell(Cell& cell, const BenchOptions& options) {
  if (!cell.failure.empty()) return;
  RunOptions run;
  run.channel.record_bytes = kRecordBytes;
  run.channel.consumers = 1;
  run.channel.ring_bytes = options.ring_bytes;
  run.channel.wait = cell.wait;
  run.channel.directory = options.directory;
  run.pace = Pace::kSingles;
  run.pinned = true;
  run.seconds = options.quick ? 0.05 : cell.wait == Wait::kSleep ? 0.4 : 0.2;
  run.pause_us = cell.wait == Wait::kSleep ? kAsleepPauseUs : kAwakePauseUs;
  auto result = run_once(*cell.transport, run);
  if (!result) {
    cell.failure = result.error().message;
    return;
  }
  cell.samples += result->samples_ns.size();
  cell.p50.push_back(quantile(result->samples_ns, 0.5));
  cell.p99.push_back(quantile(result->samples_ns, 0.99));
  cell.p999.push_back(quantile(result->samples_ns, 0.999));
  for (const ConsumerResult& each : result->consumers) {
    cell.errors += each.errors;
    cell.lost += each.lost;
    if (each.delivered + each.lost != result->published) ++cell.errors;
  }
  if (!result->first_error.empty()) {
    std::fprintf(stderr, "ring_bench: %s: %s\n", cell.transport->name, result->first_error.c_str());
  }
}

Json to_json(const Cell& cell) {
  Json json{{"transport", cell.transport->name},
            {"reader", cell.wait == Wait::kSpin ? "awake" : "sleeping"},
            {"record_bytes", kRecordBytes},
            {"payload_bytes", kRecordBytes - kHeadBytes}};
  if (!cell.failure.empty()) {
    json["failure"] = cell.failure;
    return json;
  }
  json["p50_ns"] = spread(cell.p50);
  json["p99_ns"] = spread(cell.p99);
  json["p999_ns"] = spread(cell.p999);
  json["samples"] = cell.samples;
  json["lost"] = cell.lost;
  json["errors"] = cell.errors;
  return json;
}

}  // namespace

Json measure_latency(const BenchOptions& options) {
  std::vector<Cell> cells;
  for (const Wait wait : {Wait::kSpin, Wait::kSleep}) {
    for (const Transport* each : {&kRing, &kBare, &kIceoryx, &kMessageQueue, &kSeqpacket, &kPipe}) {
      if (each == &kBare && wait == Wait::kSleep) continue;  // it cannot
      cells.push_back({each, wait, {}, {}, {}});
    }
  }
  LineTrips line;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    line.run(options.quick ? 1000 : 20000);
    for (Cell& cell : cells) run_cell(cell, options);
  }
  Json rows = Json::array();
  rows.push_back(line.to_json());
  for (const Cell& cell : cells) rows.push_back(to_json(cell));
  return rows;
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
#include "drain_parts.h"

#include <memory>

#include "clock.h"
#include "drain_rig.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

// What one storm did to the pipeline.
struct Run {
  StormReport storm{};
  Seen seen{};
  uint64_t emitted = 0;
  uint64_t kernel_lost = 0;
  uint64_t ring_lost = 0;
  double drain_ns = 0;
  std::vector<uint32_t> latencies;
};

Result<Run> run_once(const ProducerProcess& producer, const StormOrder& order,
                     bool keep_latencies) {
  auto consumer = ConsumerProcess::start(producer.socket_path(), keep_latencies);
  if (!consumer) return consumer.error();
  sleep_us(20'000);  // it reads, and falls asleep
  const auto before = producer.stats();
  if (!before) return before.error();
  const ProducerTime time_before = producer.time();
  auto storm = run_storm(order);
  if (!storm) return storm.error();
  const auto after = producer.settled_stats();
  if (!after) return after.error();
  const ProducerTime time_after = producer.time();
  auto seen = (*consumer)->finish();
  if (!seen) return seen.error();
  Run run;
  run.storm = *storm;
  run.seen = *seen;
  run.emitted = after->kern_emitted - before->kern_emitted;
  run.kernel_lost = after->kern_lost - before->kern_lost;
  run.ring_lost = after->user_enqueue_lost - before->user_enqueue_lost;
  run.drain_ns = static_cast<double>(time_after.drain.cpu_ns - time_before.drain.cpu_ns);
  run.latencies = (*consumer)->latencies();
  return run;
}

Json account(const Run& run) {
  const uint64_t lost = run.kernel_lost + run.ring_lost + run.seen.lapped;
  return {{"demanded", run.storm.events},
          {"emitted", run.emitted},
          {"delivered", run.seen.delivered},
          {"lost_in_buffers", run.kernel_lost},
          {"lost_at_ring", run.ring_lost},
          {"lost_by_consumer", run.seen.lapped},
          {"wrong", run.seen.wrong},
          {"adds_up", run.emitted == run.storm.events && run.emitted == run.seen.delivered + lost &&
                          run.seen.wrong == 0}};
}

// A row that repeats one storm.
struct Row {
  Json head;
  RigOptions rig;
  StormOrder order;
  bool keep_latencies = false;
  std::vector<Run> runs;
};

Result<> run_rounds(const DrainBenchOptions& options, std::vector<Row>& rows) {
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (Row& row : rows) {
      row.rig.directory = options.directory;
      row.rig.more = options.producer;
      auto producer = ProducerProcess::start(row.rig);
      if (!producer) return producer.error();
      auto run = run_once(**producer, row.order, row.keep_latencies);
      if (!run) return run.error();
      row.runs.push_back(std::move(*run));
    }
  }
  return Unit{};
}

template <class Value>
std::vector<double> each(const std::vector<Run>& runs, Value&& value) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(value(run));
  return values;
}

Json accounts(const std::vector<Run>& runs) {
  Json list = Json::array();
  for (const Run& run : runs) list.push_back(account(run));
  return list;
}

double lost(const Run& run) {
  return static_cast<double>(run.kernel_lost + run.ring_lost + run.seen.lapped);
}

// The head of a row, and what all kinds of rows have.
Json common(const Row& row) {
  Json out = row.head;
  out["emitted_per_s"] = spread(each(row.runs, [](const Run& run) {
    return static_cast<double>(run.emitted) / run.storm.seconds;
  }));
  out["delivered_per_s"] = spread(each(row.runs, [](const Run& run) {
    return static_cast<double>(run.seen.delivered) / run.storm.seconds;
  }));
  out["lost"] = spread(each(row.runs, lost));
  out["drain_ns_per_event"] = spread(each(row.runs, [](const Run& run) {
    const uint64_t published = run.emitted - run.kernel_lost - run.ring_lost;
    return published > 0 ? run.drain_ns / static_cast<double>(published) : 0;
  }));
  out["drain_cpu_percent"] =
      spread(each(row.runs, [](const Run& run) { return run.drain_ns / run.storm.seconds / 1e7; }));
  out["accounts"] = accounts(row.runs);
  return out;
}

std::vector<std::string> transports() { return {"ringbuf", "perf"}; }

// An idle producer, looked at for a while.
Result<Json> look_at_idle(const DrainBenchOptions& options, bool low_latency, bool consumer) {
  RigOptions rig;
  rig.directory = options.directory;
  rig.low_latency = low_latency;
  rig.generator = false;
  // What else the machine does is no part of it.
  rig.more = {"--allow-names", "nobody-at-all"};
  auto producer = ProducerProcess::start(rig);
  if (!producer) return producer.error();
  std::unique_ptr<ConsumerProcess> attached;
  if (consumer) {
    auto started = ConsumerProcess::start((*producer)->socket_path(), false);
    if (!started) return started.error();
    attached = std::move(*started);
  }
  sleep_us(options.quick ? 100'000 : 1'000'000);
  const uint64_t begin_ns = now_ns();
  const ProducerTime before = (*producer)->time();
  sleep_us(static_cast<long>(options.idle_seconds * 1e6));
  const ProducerTime after = (*producer)->time();
  const double seconds = static_cast<double>(now_ns() - begin_ns) / 1e9;
  const auto percent = [seconds](const ThreadTime& from, const ThreadTime& to) {
    return static_cast<double>(to.cpu_ns - from.cpu_ns) / seconds / 1e7;
  };
  const auto wakeups = [seconds](const ThreadTime& from, const ThreadTime& to) {
    return static_cast<double>(to.runs - from.runs) / seconds;
  };
  Json row = {{"mode", low_latency ? "low latency" : "default"},
              {"consumers", consumer ? 1 : 0},
              {"seconds", seconds}};
  row["drain_cpu_percent"] = percent(before.drain, after.drain);
  row["control_cpu_percent"] = percent(before.control, after.control);
  row["cpu_percent"] = percent(before.drain, after.drain) + percent(before.control, after.control);
  row["drain_wakeups_per_s"] = wakeups(before.drain, after.drain);
  row["control_wakeups_per_s"] = wakeups(before.control, after.control);
  return row;
}

}  // namespace

Result<Json> measure_rates(const DrainBenchOptions& options) {
  std::vector<Row> rows;
  for (const std::string& transport : transports()) {
    for (const uint32_t bytes : {64u, 640u, 16000u}) {
      Row row;
      row.head = {{"transport", transport}, {"bytes", bytes}};
      row.rig.transport = transport;
      row.rig.bytes = row.order.bytes = bytes;
      row.order.seconds = options.seconds;
      rows.push_back(std::move(row));
    }
  }
  if (auto done = run_rounds(options, rows); !done) return done.error();
  Json out = Json::array();
  for (const Row& row : rows) out.push_back(common(row));
  return out;
}

Result<Json> measure_paced(const DrainBenchOptions& options) {
  std::vector<Row> rows;
  const auto add = [&](const std::string& transport, uint64_t per_second, bool one_cpu) {
    Row row;
    row.head = {{"transport", transport},
                {"bytes", row.order.bytes},
                {"per_s", per_second},
                {"cpus", one_cpu ? "one for producer and generator" : "all"}};
    row.rig.transport = transport;
    row.rig.one_cpu = row.order.one_cpu = one_cpu;
    row.order.per_second = per_second;
    row.order.seconds = options.seconds;
    rows.push_back(std::move(row));
  };
  for (const std::string& transport : transports()) {
    for (const uint64_t per_second : {100'000u, 200'000u, 300'000u, 400'000u, 500'000u}) {
      if (!options.quick || per_second == 100'000) add(transport, per_second, false);
    }
    if (!options.quick) add(transport, 300'000, true);
  }
  if (auto done = run_rounds(options, rows); !done) return done.error();
  Json out = Json::array();
  for (const Row& row : rows) out.push_back(common(row));
  return out;
}

Result<Json> measure_drain_latency(const DrainBenchOptions& options) {
  std::vector<Row> rows;
  for (const bool low_latency : {false, true}) {
    for (const uint64_t per_second : {100u, 10'000u, 200'000u}) {
      Row row;
      row.head = {{"mode", low_latency ? "low latency" : "default"}, {"per_s", per_second}};
      row.rig.low_latency = low_latency;
      row.order.per_second = per_second;
      // A p99 wants a few hundred events.
      row.order.seconds = options.seconds * (per_second == 100 && !options.quick ? 3 : 1);
      row.keep_latencies = true;
      rows.push_back(std::move(row));
    }
  }
  if (auto done = run_rounds(options, rows); !done) return done.error();
  Json out = Json::array();
  for (const Row& row : rows) {
    Json entry = common(row);
    const std::pair<const char*, double> wanted[] = {
        {"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}};
    for (const auto& [name, q] : wanted) {
      entry[name] = spread(
          each(row.runs, [q = q](const Run& run) { return quantile(run.latencies, q) / 1e3; }));
    }
    out.push_back(std::move(entry));
  }
  return out;
}

Result<Json> measure_idle(const DrainBenchOptions& options) {
  Json out = Json::array();
  for (const bool low_latency : {false, true}) {
    for (const bool consumer : {true, false}) {
      if (options.quick && !consumer) continue;
      auto row = look_at_idle(options, low_latency, consumer);
      if (!row) return row.error();
      out.push_back(std::move(*row));
    }
  }
  return out;
}

}  // namespace ebpf::bench

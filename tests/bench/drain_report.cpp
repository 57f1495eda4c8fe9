// SPDX-License-Identifier: Apache-2.0
// The figures that the drain is meant to reach, and the tables for the terminal.
#include <algorithm>
#include <functional>
#include <optional>

#include "drain_parts.h"

namespace ebpf::bench {
namespace {

using Chosen = std::function<bool(const Json&)>;

double median(const Json& row, const char* name) { return row[name]["median"]; }

// The largest value among the rows that are meant; nothing if there are none.
std::optional<double> worst(const Json& rows, const char* name, const Chosen& is_meant) {
  std::optional<double> found;
  for (const Json& row : rows) {
    if (!is_meant(row)) continue;
    const double value = row[name].is_object() ? median(row, name) : row[name].get<double>();
    found = std::max(found.value_or(value), value);
  }
  return found;
}

Json figure(const char* what, const char* bound, double wanted, const char* unit,
            std::optional<double> reached) {
  Json row = {{"figure", what}, {bound, wanted}, {"unit", unit}};
  if (!reached) return row;
  row["reached"] = *reached;
  row["met"] = std::string(bound) == "at_most" ? *reached <= wanted : *reached >= wanted;
  return row;
}

const char* text(const Json& row, const char* name) {
  return row[name].get_ref<const std::string&>().c_str();
}

void print_storms(std::FILE* out, const char* title, const Json& rows) {
  std::fprintf(out, "\n%s (medians)\n%-9s %7s %9s %12s %12s %10s %9s %7s\n", title, "transport",
               "bytes", "wanted/s", "emitted/s", "delivered/s", "lost", "ns/event", "CPU %");
  for (const Json& row : rows) {
    std::fprintf(out, "%-9s %7u %9u %12.0f %12.0f %10.0f %9.0f %7.1f %s\n", text(row, "transport"),
                 row["bytes"].get<unsigned>(), row.value("per_s", 0u), median(row, "emitted_per_s"),
                 median(row, "delivered_per_s"), median(row, "lost"),
                 median(row, "drain_ns_per_event"), median(row, "drain_cpu_percent"),
                 row.value("cpus", "all") == "all" ? "" : "(one CPU)");
  }
}

void print_latencies(std::FILE* out, const Json& rows) {
  std::fprintf(out,
               "\nFrom the hook to the callback, us (medians over the rounds)\n"
               "%-12s %9s %9s %9s %9s %9s %7s\n",
               "", "events/s", "p50", "p99", "p99.9", "ns/event", "CPU %");
  for (const Json& row : rows) {
    std::fprintf(out, "%-12s %9u %9.0f %9.0f %9.0f %9.0f %7.1f\n", text(row, "mode"),
                 row["per_s"].get<unsigned>(), median(row, "p50_us"), median(row, "p99_us"),
                 median(row, "p999_us"), median(row, "drain_ns_per_event"),
                 median(row, "drain_cpu_percent"));
  }
}

void print_idle(std::FILE* out, const Json& rows) {
  std::fprintf(out, "\nIdle, %% of a core, and wake-ups a second\n%-12s %10s %8s %8s %8s %9s %9s\n",
               "", "consumers", "all", "drain", "control", "drain/s", "control/s");
  for (const Json& row : rows) {
    std::fprintf(out, "%-12s %10u %8.3f %8.3f %8.3f %9.1f %9.1f\n", text(row, "mode"),
                 row["consumers"].get<unsigned>(), row["cpu_percent"].get<double>(),
                 row["drain_cpu_percent"].get<double>(), row["control_cpu_percent"].get<double>(),
                 row["drain_wakeups_per_s"].get<double>(),
                 row["control_wakeups_per_s"].get<double>());
  }
}

}  // namespace

Json judge_drain(const Json& document) {
  Json rows = Json::array();
  if (document.contains("rates")) {
    for (const Json& row : document["rates"]) {
      if (row["bytes"] != 640) continue;
      const std::string what = "640-byte events delivered, " + row["transport"].get<std::string>();
      rows.push_back(
          figure(what.c_str(), "at_least", 500'000, "/s", median(row, "delivered_per_s")));
    }
  }
  if (document.contains("paced")) {
    const auto at_300k = [](const Json& row) { return row["per_s"] == 300'000; };
    rows.push_back(figure("lost at 300,000 events/s, on one CPU as well", "at_most", 0, "",
                          worst(document["paced"], "lost", at_300k)));
    for (const char* transport : {"ringbuf", "perf"}) {
      const std::string what = std::string("the drain's CPU time at 300,000/s, ") + transport;
      rows.push_back(figure(what.c_str(), "at_most", 200, "ns",
                            worst(document["paced"], "drain_ns_per_event", [&](const Json& row) {
                              return at_300k(row) && row["transport"] == transport &&
                                     row["cpus"] == "all";
                            })));
    }
  }
  for (const char* mode : {"default", "low latency"}) {
    const bool is_default = std::string(mode) == "default";
    const auto is_meant = [&](const Json& row) { return row["mode"] == mode; };
    if (document.contains("latency")) {
      const std::string what = std::string("p99 latency, slowest rate, ") + mode;
      rows.push_back(figure(what.c_str(), "at_most", is_default ? 5000 : 200, "us",
                            worst(document["latency"], "p99_us", is_meant)));
    }
    if (document.contains("idle") && is_default) {
      rows.push_back(
          figure("idle", "at_most", 0.3, "%", worst(document["idle"], "cpu_percent", is_meant)));
    }
  }
  return rows;
}

void print_drain(std::FILE* out, const Json& document) {
  if (document.contains("rates")) print_storms(out, "Flat out", document["rates"]);
  if (document.contains("paced")) print_storms(out, "At a given rate", document["paced"]);
  if (document.contains("latency")) print_latencies(out, document["latency"]);
  if (document.contains("idle")) print_idle(out, document["idle"]);
}

}  // namespace ebpf::bench

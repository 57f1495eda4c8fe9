// SPDX-License-Identifier: Apache-2.0
// The figures that the ring is meant to reach, taken from the rows that hold them.
#include <algorithm>
#include <vector>

#include "experiments.h"
#include "statistics.h"

namespace ebpf::bench {
namespace {

// The values of one row that were measured, round by round; empty: there are none.
using Values = std::vector<double>;

Values throughput(const Json& document, const char* transport, uint32_t consumers) {
  if (!document.contains("throughput")) return {};
  for (const Json& row : document["throughput"]) {
    if (row["transport"] == transport && row["mode"] == "lossless" && row["record_bytes"] == 672 &&
        row["consumers"] == consumers && !row.contains("failure")) {
      return row["delivered_per_s_slowest"]["each"];
    }
  }
  return {};
}

Values cpu(const Json& document, const char* they, uint32_t consumers, const char* what) {
  if (!document.contains("producer_cpu")) return {};
  for (const Json& row : document["producer_cpu"]) {
    if (row["they"] == they && row["record_bytes"] == 672 && row["consumers"] == consumers &&
        !row.contains("failure")) {
      return row[what]["each"];
    }
  }
  return {};
}

Values awake_p50(const Json& document) {
  if (!document.contains("latency")) return {};
  for (const Json& row : document["latency"]) {
    if (row["transport"] == "ring" && row["reader"] == "awake" && !row.contains("failure")) {
      return row["p50_ns"]["each"];
    }
  }
  return {};
}

double median(const Values& values) { return quantile(values, 0.5); }

// How many times `b` is `a`: of each round, since a machine is not the same for long; then
// their median.
double ratio(const Values& a, const Values& b) {
  Values ratios;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (b[i] != 0) ratios.push_back(a[i] / b[i]);
  }
  return median(ratios);
}

// 0: was not measured.
void add(Json& figures, const char* name, const char* unit, double wanted, bool at_most,
         double reached) {
  Json row{{"figure", name}, {"unit", unit}, {at_most ? "at_most" : "at_least", wanted}};
  if (reached != 0) {
    row["reached"] = reached;
    row["met"] = at_most ? reached <= wanted : reached >= wanted;
  }
  figures.push_back(row);
}

}  // namespace

Json judge(const Json& document) {
  Json figures = Json::array();
  const Values one = throughput(document, "ring", 1);
  const Values two = throughput(document, "ring", 2);
  add(figures, "672-byte records, lossless, 1→1", "M/s", 12, false, median(one) / 1e6);
  add(figures, "672-byte records, lossless, 1→2", "M/s", 12, false, median(two) / 1e6);
  add(figures, "against iceoryx, 1→2", "times", 8, false,
      ratio(two, throughput(document, "iceoryx", 2)));
  add(figures, "against message_queue, 1→2", "times", 20, false,
      ratio(two, throughput(document, "message_queue", 2)));
  add(figures, "awake one-way latency, p50", "ns", 300, true, median(awake_p50(document)));
  add(figures, "producer's CPU time per record against memcpy, 1 consumer", "times", 1.5, true,
      median(cpu(document, "reading", 1, "ratio")));
  const Values from = cpu(document, "reading", 1, "ring_ns");
  add(figures, "producer's CPU time per record, 8 consumers against 1", "times", 1.05, true,
      ratio(cpu(document, "reading", 8, "ring_ns"), from));
  add(figures, "producer's CPU time per record, a stopped one against 1", "times", 1.05, true,
      ratio(cpu(document, "one reads, one is stopped", 2, "ring_ns"), from));
  add(figures, "producer's CPU time per record, a hostile one against 1", "times", 1.05, true,
      ratio(cpu(document, "one reads, one is hostile", 2, "ring_ns"), from));
  return figures;
}

}  // namespace ebpf::bench

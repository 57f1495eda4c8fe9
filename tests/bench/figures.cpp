// SPDX-License-Identifier: Apache-2.0
// The figures that the ring is meant to reach, taken from the rows that hold them.
#include <algorithm>

#include "experiments.h"

namespace ebpf::bench {
namespace {

double throughput(const Json& document, const char* transport, uint32_t consumers) {
  if (!document.contains("throughput")) return 0;
  for (const Json& row : document["throughput"]) {
    if (row["transport"] == transport && row["mode"] == "lossless" && row["record_bytes"] == 672 &&
        row["consumers"] == consumers && !row.contains("failure")) {
      return row["delivered_per_s_slowest"]["median"];
    }
  }
  return 0;
}

double cpu(const Json& document, const char* they, uint32_t consumers, const char* what) {
  if (!document.contains("producer_cpu")) return 0;
  for (const Json& row : document["producer_cpu"]) {
    if (row["they"] == they && row["record_bytes"] == 672 && row["consumers"] == consumers &&
        !row.contains("failure")) {
      return row[what]["median"];
    }
  }
  return 0;
}

double awake_p50(const Json& document) {
  if (!document.contains("latency")) return 0;
  for (const Json& row : document["latency"]) {
    if (row["transport"] == "ring" && row["reader"] == "awake" && !row.contains("failure")) {
      return row["p50_ns"]["median"];
    }
  }
  return 0;
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

double ratio(double a, double b) { return b == 0 ? 0 : a / b; }

}  // namespace

Json judge(const Json& document) {
  Json figures = Json::array();
  const double one = throughput(document, "ring", 1);
  const double two = throughput(document, "ring", 2);
  add(figures, "672-byte records, lossless, 1→1", "M/s", 12, false, one / 1e6);
  add(figures, "672-byte records, lossless, 1→2", "M/s", 12, false, two / 1e6);
  add(figures, "against iceoryx, 1→2", "times", 8, false,
      ratio(two, throughput(document, "iceoryx", 2)));
  add(figures, "against message_queue, 1→2", "times", 20, false,
      ratio(two, throughput(document, "message_queue", 2)));
  add(figures, "awake one-way latency, p50", "ns", 300, true, awake_p50(document));
  add(figures, "producer's CPU time per record against memcpy, 1 consumer", "times", 1.5, true,
      cpu(document, "reading", 1, "ratio"));
  const double from = cpu(document, "reading", 1, "ring_ns");
  add(figures, "producer's CPU time per record, 8 consumers against 1", "times", 1.05, true,
      ratio(cpu(document, "reading", 8, "ring_ns"), from));
  add(figures, "producer's CPU time per record, a stopped one against 1", "times", 1.05, true,
      ratio(cpu(document, "one reads, one is stopped", 2, "ring_ns"), from));
  add(figures, "producer's CPU time per record, a hostile one against 1", "times", 1.05, true,
      ratio(cpu(document, "one reads, one is hostile", 2, "ring_ns"), from));
  return figures;
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
#include "trace_cost.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>

#include "libebpf/detail/unique_fd.h"
#include "report.h"
#include "statistics.h"
#include "trace_subjects.h"
#include "trace_workload.h"

namespace ebpf::bench {
namespace {

struct WorkPlan {
  Work work;
  const char* key;
  uint32_t chunks;
  uint32_t repeats;  // of one chunk: fewer than a buffer of the default size holds
  long pause_us;     // after it
};

constexpr WorkPlan kPlans[] = {{Work::kPair, "pair", 8, 300, 1000},
                               {Work::kWriteNull, "write_null", 3, 1000, 0},
                               {Work::kWriteFile, "write_file", 3, 1000, 0},
                               {Work::kGetuid, "getuid", 3, 1000, 0}};
constexpr size_t kPlanCount = std::size(kPlans);

struct Row {
  std::unique_ptr<Subject> subject;
  std::array<std::vector<double>, kPlanCount> best;  // of each round
  PipelineRun total;
  std::string failure;
};

void add(PipelineRun* total, const PipelineRun& run) {
  total->emitted += run.emitted;
  total->lost += run.lost;
  total->published += run.published;
  total->user_ns += run.user_ns;
  total->system_ns += run.system_ns;
}

bool is_asked_for(const CostOptions& options, const WorkPlan& plan) {
  const auto& works = options.works;
  return works.empty() || std::find(works.begin(), works.end(), plan.key) != works.end();
}

Result<> run_round(const CostOptions& options, Row* row, Workload* workload) {
  Subject& subject = *row->subject;
  if (auto started = subject.start(workload->pid()); !started) return started;
  for (size_t i = 0; i < kPlanCount; ++i) {
    const WorkPlan& plan = kPlans[i];
    if (plan.work != Work::kPair && !subject.sees_other_calls()) continue;
    if (!is_asked_for(options, plan)) continue;
    const uint32_t repeats = std::max(plan.repeats / subject.patience(), 1u);
    auto took = workload->run(plan.work, plan.chunks, repeats, plan.pause_us);
    if (!took) return took.error();
    row->best[i].push_back(*std::min_element(took->begin(), took->end()));
  }
  auto run = subject.stop();
  if (!run) return run.error();
  add(&row->total, *run);
  return Unit{};
}

class Table {
 public:
  void add(Result<std::unique_ptr<Subject>> subject, const std::string& name) {
    Row row;
    if (subject) {
      row.subject = std::move(*subject);
    } else {
      row.failure = subject.error().message;
    }
    names_.push_back(row.subject ? row.subject->name() : name);
    rows_.push_back(std::move(row));
  }
  void run(const CostOptions& options, Workload* workload) {
    for (uint32_t round = 0; round < options.rounds; ++round) {
      for (Row& row : rows_) {
        if (!row.failure.empty()) continue;
        if (auto done = run_round(options, &row, workload); !done)
          row.failure = done.error().message;
      }
    }
  }
  Json json() const {
    Json rows = Json::array();
    for (size_t i = 0; i < rows_.size(); ++i) rows.push_back(row_json(names_[i], rows_[i]));
    return rows;
  }

 private:
  Json row_json(const std::string& name, const Row& row) const {
    Json out{{"traced_by", name}};
    if (!row.failure.empty()) {
      out["failure"] = row.failure;
      return out;
    }
    for (size_t i = 0; i < kPlanCount; ++i) {
      if (row.best[i].empty()) continue;
      const std::string key = kPlans[i].key;
      const std::vector<double>& none = rows_[0].best[i];
      std::vector<double> added;
      for (size_t r = 0; r < std::min(none.size(), row.best[i].size()); ++r) {
        added.push_back(row.best[i][r] - none[r]);
      }
      out[key + "_ns"] = spread(row.best[i]);
      // Both at their best, which disturbances only move up; and round against round.
      out[key + "_added_ns"] = {{"at_best", quantile(row.best[i], 0) - quantile(none, 0)},
                                {"median", quantile(added, 0.5)},
                                {"each", added}};
    }
    out["lost"] = row.total.lost;
    if (row.total.emitted == 0 && row.total.published > 0) out["captured"] = row.total.published;
    if (row.total.emitted > 0) {
      const auto events = static_cast<double>(std::max<uint64_t>(row.total.published, 1));
      out["emitted"] = row.total.emitted;
      out["published"] = row.total.published;
      out["producer_user_ns"] = row.total.user_ns / events;
      out["producer_ns"] = (row.total.user_ns + row.total.system_ns) / events;
    }
    return out;
  }

  std::vector<std::string> names_;
  std::vector<Row> rows_;
};

void add_ours(Table* table, const CostOptions& options) {
  const struct {
    const char* name;
    AttachMode attach;
    TransportMode transport;
  } ours[] = {{"direct, ring buffers", AttachMode::kDirect, TransportMode::kRingBuffer},
              {"direct, perf buffers", AttachMode::kDirect, TransportMode::kPerf},
              {"raw, ring buffers", AttachMode::kRaw, TransportMode::kRingBuffer},
              {"raw, perf buffers", AttachMode::kRaw, TransportMode::kPerf},
              {"tracepoint, ring buffers", AttachMode::kTracepoint, TransportMode::kRingBuffer},
              {"tracepoint, perf buffers", AttachMode::kTracepoint, TransportMode::kPerf}};
  for (const auto& one : ours) {
    if (std::string(one.name).rfind(options.only, 0) != 0) continue;
    TracerOptions tracer;
    tracer.attach = one.attach;
    tracer.transport = one.transport;
    table->add(our_tracer(one.name, tracer), one.name);
    for (const std::string& object : options.objects) {
      tracer.bpf_file = object;
      const std::string name = one.name + (", " + object);
      table->add(our_tracer(name, tracer), name);
    }
  }
}

const Json* find_row(const Json& rows, const std::string& name) {
  for (const Json& row : rows) {
    if (row["traced_by"] == name && !row.contains("failure")) return &row;
  }
  return nullptr;
}

void judge_one(Json& figures, const Json* row, const std::string& key, const std::string& name,
               double wanted) {
  Json figure{{"figure", name}, {"unit", "ns"}, {"at_most", wanted}};
  if (row != nullptr && row->contains(key)) {
    const Json& value = (*row)[key];
    const double reached = value.is_object() ? value["at_best"].get<double>() : value.get<double>();
    figure["reached"] = reached;
    figure["met"] = reached <= wanted;
  }
  figures.push_back(figure);
}

}  // namespace

Json measure_cost(const CostOptions& options) {
  mount_tracefs();
  auto workload = Workload::start();
  if (!workload)
    return Json::array({{{"traced_by", "untraced"}, {"failure", workload.error().message}}});
  Table table;
  table.add(untraced(), "untraced");
  table.add(empty_programs(false), "empty program, end of call");
  table.add(empty_programs(true), "empty programs, begin and end");
  add_ours(&table, options);
  if (options.others) {
    for (const char* tool : {"tcpdump", "bpftrace", "strace"}) {
      table.add(other_tool(tool, options.directory), tool);
    }
  }
  table.run(options, &*workload);
  return table.json();
}

Json judge_cost(const Json& rows) {
  Json figures = Json::array();
  const Json* best = find_row(rows, "direct, ring buffers");
  const Json* perf = find_row(rows, "direct, perf buffers");
  judge_one(figures, best, "pair_added_ns", "512-byte send and receive, added", 1500);
  judge_one(figures, perf, "pair_added_ns", "the same with perf buffers, added", 1800);
  judge_one(figures, best, "write_file_added_ns", "write to a file, added", 200);
  judge_one(figures, best, "getuid_added_ns", "getuid, added", 120);
  judge_one(figures, best, "producer_ns", "the producer's CPU time per event", 200);
  return figures;
}

void print_cost(std::FILE* out, const Json& rows) {
  std::fprintf(out,
               "\nWhat tracing costs the traced thread, ns of its CPU time per call, at best "
               "(added; median of the rounds)\n%-32s %-26s %-24s %-24s %-20s %9s %7s\n",
               "", "send + receive, 512 bytes", "write to /dev/null", "write to a file", "getuid",
               "producer", "lost");
  for (const Json& row : rows) {
    std::fprintf(out, "%-32s", row["traced_by"].get<std::string>().c_str());
    if (row.contains("failure")) {
      std::fprintf(out, " %s\n", row["failure"].get<std::string>().c_str());
      continue;
    }
    for (const WorkPlan& plan : kPlans) {
      const std::string key = plan.key;
      if (!row.contains(key + "_ns")) {
        std::fprintf(out, " %-22s", "-");
        continue;
      }
      const Json& added = row[key + "_added_ns"];
      std::fprintf(out, " %7.0f %+6.0f (%+6.0f)", row[key + "_ns"]["min"].get<double>(),
                   added["at_best"].get<double>(), added["median"].get<double>());
    }
    if (row.contains("producer_ns")) {
      std::fprintf(out, " %6.0f ns", row["producer_ns"].get<double>());
    } else {
      std::fprintf(out, " %9s", "-");
    }
    std::fprintf(out, " %7lu\n", row["lost"].get<unsigned long>());
  }
}

}  // namespace ebpf::bench

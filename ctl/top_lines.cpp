// SPDX-License-Identifier: Apache-2.0
// How a view of `ebpfctl top` looks, as lines and as JSON.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ctl/table.h"
#include "ctl/top_model.h"

namespace ebpf::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kRowsOfJson = 100;  // processes and sockets

std::string rate(double per_second) {
  char text[32];
  if (per_second < 10 && per_second > 0) {
    std::snprintf(text, sizeof text, "%.1f", per_second);
  } else {
    std::snprintf(text, sizeof text, "%.0f", per_second);
  }
  return text;
}

std::string kilobytes(double bytes) { return rate(bytes / 1000); }

std::string latency(uint64_t matched, uint64_t us) {
  return matched == 0 ? "-" : milliseconds_text(us);
}

struct Section {
  Table table;
  size_t rows;
  size_t share = 0;
};

Section protocol_section(const TopView& view) {
  Table table({{"PROTOCOL", Align::kLeft},
               {"RECORDS/S"},
               {"REQUESTS/S"},
               {"RESPONSES/S"},
               {"KB/S"},
               {"P50 MS"},
               {"P99 MS"}});
  for (const TopProtocol& row : view.protocols) {
    table.add({row.name, rate(row.rate.records_per_s), rate(row.requests_per_s),
               rate(row.responses_per_s), kilobytes(row.rate.bytes_per_s),
               latency(row.matched, row.p50_us), latency(row.matched, row.p99_us)});
  }
  return {table, view.protocols.size()};
}

Section process_section(const TopView& view, size_t rows) {
  Table table({{"PID"}, {"PROCESS", Align::kLeft}, {"RECORDS/S"}, {"KB/S"}, {"SOCKETS"}});
  for (size_t i = 0; i < std::min(rows, view.processes.size()); i++) {
    const TopProcess& row = view.processes[i];
    table.add({std::to_string(row.pid), row.name, rate(row.rate.records_per_s),
               kilobytes(row.rate.bytes_per_s), std::to_string(row.sockets)});
  }
  return {table, view.processes.size()};
}

Section socket_section(const TopView& view, size_t rows) {
  Table table({{"PID"},
               {"PROCESS", Align::kLeft},
               {"PROTOCOL", Align::kLeft},
               {"REC/S"},
               {"KB/S"},
               {"LOCAL", Align::kLeft},
               {"REMOTE", Align::kLeft}});
  for (size_t i = 0; i < std::min(rows, view.sockets.size()); i++) {
    const TopSocket& row = view.sockets[i];
    table.add({std::to_string(row.pid), row.name, row.protocol, rate(row.rate.records_per_s),
               kilobytes(row.rate.bytes_per_s), row.local, row.remote});
  }
  return {table, view.sockets.size()};
}

Section consumer_section(const TopView& view) {
  Table table({{"CONSUMER"},
               {"PID"},
               {"PROCESS", Align::kLeft},
               {"LAG"},
               {"LAG MS"},
               {"DELIVERED"},
               {"LOST"},
               {"STATE", Align::kLeft}});
  for (const ebpf_consumer_row& row : view.ring.consumers) {
    table.add({std::to_string(row.id), std::to_string(row.pid), consumer_process(row),
               std::to_string(row.unread), milliseconds_text(row.lag_us),
               std::to_string(row.delivered), std::to_string(row.lost),
               consumer_state_name(row.state)});
  }
  return {table, view.ring.consumers.size()};
}

const char* state_of(const ebpf_msg_stats& stats) {
  return stats.tracer_state == TRACER_RUNNING ? "running"
         : stats.tracer_state == TRACER_STOP  ? "stopped"
                                              : "not ready";
}

std::vector<TopLine> head_lines(const TopView& view) {
  if (!view.problem.empty()) {
    return {{"ebpfctl top - no producer", LineKind::kTitle}, {view.problem, LineKind::kAlert}};
  }
  const ebpf_msg_stats& stats = view.stats;
  const EventFlow flow = event_flow(stats);
  const uint64_t lost = flow.perf_full + flow.bad + flow.no_room + view.own_lost;
  std::ostringstream title, events, losses;
  title << "ebpfctl top - producer " << stats.producer_pid << ", " << state_of(stats) << ", up "
        << seconds_text(stats.uptime_us) << ", " << stats.consumer_count << " of "
        << stats.max_consumers << " consumers";
  events << "Events/s  left out " << rate(view.stages.left_out_per_s) << "  emitted "
         << rate(view.stages.emitted_per_s) << "  published " << rate(view.stages.published_per_s)
         << "  lost: kernel " << rate(view.stages.perf_lost_per_s) << " ring "
         << rate(view.stages.no_room_per_s);
  losses << "Lost      perf buffer " << flow.perf_full << "  not valid " << flow.bad << "  no room "
         << flow.no_room << "  this screen " << view.own_lost;
  if (view.own_not_kept > 0) losses << "  not kept " << view.own_not_kept;
  return {{title.str(), LineKind::kTitle},
          {events.str(), LineKind::kPlain},
          {losses.str(), lost > 0 ? LineKind::kAlert : LineKind::kPlain}};
}

// One line after the other goes to the section that has the fewest, until all is given out.
void share_out(std::vector<Section*> sections, size_t lines) {
  for (bool given = true; given;) {
    given = false;
    for (Section* section : sections) {
      if (lines == 0 || section->share == section->rows) continue;
      section->share++;
      lines--;
      given = true;
    }
  }
}

void append_section(std::vector<TopLine>& lines, const Section& section) {
  std::istringstream text(section.table.text(false));
  std::string line;
  for (size_t i = 0; i <= section.share && std::getline(text, line); i++) {
    lines.push_back({line, i == 0 ? LineKind::kHeading : LineKind::kPlain});
  }
}

Json rate_json(const TopRate& rate) {
  return {{"records_per_s", rate.records_per_s}, {"bytes_per_s", rate.bytes_per_s}};
}

Json protocols_json(const TopView& view) {
  Json rows = Json::array();
  for (const TopProtocol& row : view.protocols) {
    Json json = {{"protocol", row.name}};
    json.update(rate_json(row.rate));
    json["requests_per_s"] = row.requests_per_s;
    json["responses_per_s"] = row.responses_per_s;
    json["matched"] = row.matched;
    json["p50_us"] = row.matched > 0 ? Json(row.p50_us) : Json(nullptr);
    json["p99_us"] = row.matched > 0 ? Json(row.p99_us) : Json(nullptr);
    rows.push_back(json);
  }
  return rows;
}

Json processes_json(const TopView& view) {
  Json rows = Json::array();
  for (size_t i = 0; i < std::min(view.processes.size(), kRowsOfJson); i++) {
    const TopProcess& row = view.processes[i];
    Json json = {{"pid", row.pid}, {"process", row.name}, {"sockets", row.sockets}};
    json.update(rate_json(row.rate));
    rows.push_back(json);
  }
  return rows;
}

Json sockets_json(const TopView& view) {
  Json rows = Json::array();
  for (size_t i = 0; i < std::min(view.sockets.size(), kRowsOfJson); i++) {
    const TopSocket& row = view.sockets[i];
    Json json = {{"socket_id", row.id},      {"pid", row.pid},     {"process", row.name},
                 {"protocol", row.protocol}, {"local", row.local}, {"remote", row.remote}};
    json.update(rate_json(row.rate));
    rows.push_back(json);
  }
  return rows;
}

Json consumers_json(const TopView& view) {
  Json rows = Json::array();
  for (const ebpf_consumer_row& row : view.ring.consumers) {
    rows.push_back({{"id", row.id},
                    {"pid", row.pid},
                    {"process", consumer_process(row)},
                    {"lag_records", row.unread},
                    {"lag_us", row.lag_us},
                    {"delivered", row.delivered},
                    {"lost", row.lost},
                    {"state", consumer_state_name(row.state)}});
  }
  return rows;
}

}  // namespace

std::vector<TopLine> top_lines(const TopView& view, size_t width, size_t height) {
  std::vector<TopLine> lines = head_lines(view);
  if (view.problem.empty()) {
    Section sections[] = {protocol_section(view), process_section(view, height ? height : 20),
                          socket_section(view, height ? height : 20), consumer_section(view)};
    constexpr size_t kSections = 4;
    const size_t taken = lines.size() + kSections;
    const size_t all = height == 0 ? 80 : height > taken ? height - taken : 0;
    share_out({&sections[0], &sections[1], &sections[2], &sections[3]}, all);
    for (const Section& section : sections) append_section(lines, section);
  }
  if (height > 0 && lines.size() > height) lines.resize(height);
  for (TopLine& line : lines) {
    if (width > 0 && line.text.size() > width) line.text.resize(width);
  }
  return lines;
}

std::string top_json(const TopView& view) {
  const EventFlow flow = event_flow(view.stats);
  const Json json = {{"schema_version", kSchemaVersion},
                     {"interval_s", view.interval_s},
                     {"epoch", view.stats.epoch},
                     {"tracer_state", state_of(view.stats)},
                     {"rates",
                      {{"left_out_per_s", view.stages.left_out_per_s},
                       {"emitted_per_s", view.stages.emitted_per_s},
                       {"perf_buffer_full_per_s", view.stages.perf_lost_per_s},
                       {"no_room_in_ring_per_s", view.stages.no_room_per_s},
                       {"published_per_s", view.stages.published_per_s}}},
                     {"lost",
                      {{"perf_buffer_full", flow.perf_full},
                       {"event_not_valid", flow.bad},
                       {"no_room_in_ring", flow.no_room},
                       {"this_consumer", view.own_lost}}},
                     {"protocols", protocols_json(view)},
                     {"processes", processes_json(view)},
                     {"sockets", sockets_json(view)},
                     {"consumers", consumers_json(view)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ebpf::ctl

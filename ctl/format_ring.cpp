// SPDX-License-Identifier: Apache-2.0
#include "ctl/format_ring.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "ctl/table.h"

namespace ebpf::ctl {
namespace {

using Json = nlohmann::ordered_json;

// Bytes that are no UTF-8 become U+FFFD: JSON has no other way, and must stay valid.
std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string number(uint64_t value) { return std::to_string(value); }
std::string or_dash(uint64_t value) { return value == EBPF_UNKNOWN ? "-" : number(value); }
Json or_null(uint64_t value) { return value == EBPF_UNKNOWN ? Json(nullptr) : Json(value); }

Json lanes_json(uint64_t mask) {
  Json lanes = Json::array();
  for (int lane = 0; lane < 64; lane++) {
    if (mask >> lane & 1) lanes.push_back(lane);
  }
  return lanes;
}

Json consumer_json(const ebpf_consumer_row& row) {
  return {{"id", row.id},
          {"pid", row.pid},
          {"process", bounded_string(row.process)},
          {"name", bounded_string(row.name)},
          {"uid", row.uid},
          {"user", user_name(row.uid)},
          {"state", consumer_state_name(row.state)},
          {"attached_us", row.attached_us},
          {"lanes", lanes_json(row.lanes)},
          {"position", row.position},
          {"published", row.published},
          {"delivered", row.delivered},
          {"filtered", row.filtered},
          {"lost", row.lost},
          {"lag_records", row.unread},
          {"lag_us", row.lag_us},
          {"wakeups", row.wakeups}};
}

std::string consumers_table(const RingState& state, TextStyle style) {
  std::vector<Column> columns = {{"ID"},
                                 {"PID"},
                                 {"PROCESS", Align::kLeft},
                                 {"USER", Align::kLeft},
                                 {"LANES", Align::kLeft},
                                 {"POSITION"},
                                 {"LAG"},
                                 {"LAG MS"},
                                 {"DELIVERED"},
                                 {"FILTERED"},
                                 {"LOST"},
                                 {"WAKE-UPS"},
                                 {"STATE", Align::kLeft}};
  if (style.verbose) columns.insert(columns.end(), {{"NAME", Align::kLeft}, {"ATTACHED"}});
  Table table(columns);
  for (const ebpf_consumer_row& row : state.consumers) {
    std::vector<std::string> cells = {number(row.id),
                                      std::to_string(row.pid),
                                      consumer_process(row),
                                      user_name(row.uid),
                                      lanes_text(row.lanes),
                                      number(row.position),
                                      number(row.unread),
                                      milliseconds_text(row.lag_us),
                                      number(row.delivered),
                                      number(row.filtered),
                                      number(row.lost),
                                      number(row.wakeups),
                                      consumer_state_name(row.state)};
    if (style.verbose) {
      cells.insert(cells.end(), {escape(bounded_string(row.name)), seconds_text(row.attached_us)});
    }
    table.add(cells);
  }
  return table.empty() ? "" : "\n" + table.text(style.color);
}

std::string lanes_table(const ebpf_msg_stats& stats, TextStyle style) {
  Table table({{"LANE"}, {"PUBLISHED"}, {"GAPS"}, {"NO ROOM"}, {"CAPACITY"}});
  for (uint32_t i = 0; i < stats.lane_count; i++) {
    const ebpf_lane_stats& lane = stats.lanes[i];
    table.add({number(i), number(lane.enqueued), number(lane.gaps), number(lane.lost),
               number(lane.capacity)});
  }
  return "\n" + table.text(style.color);
}

uint64_t capacity(const ebpf_msg_stats& stats) {
  uint64_t records = 0;
  for (uint32_t i = 0; i < stats.lane_count; i++) records += stats.lanes[i].capacity;
  return records;
}

// ---- losses -----------------------------------------------------------------------------

struct Cause {
  const char* text;
  const char* key;
  uint64_t count;
};

std::vector<Cause> left_out(const ebpf_msg_stats& stats) {
  return {{"none of the protocols", "not_recognised", stats.kern_unknown},
          {"filtered by port", "filtered_port", stats.kern_filtered_port},
          {"filtered by process id", "filtered_pid", stats.kern_filtered_pid},
          {"filtered by name", "filtered_name", stats.kern_filtered_name},
          {"socket map full", "socket_map_full", stats.kern_socket_map_full},
          {"payload not readable", "payload_not_readable", stats.kern_bad_pointer},
          {"run left out by the kernel", "run_left_out", stats.kern_skipped}};
}

std::vector<Cause> lost_events(const EventFlow& flow) {
  return {{"perf buffer full", "perf_buffer_full", flow.perf_full},
          {"event not valid", "event_not_valid", flow.bad},
          {"no room in the ring", "no_room_in_ring", flow.no_room}};
}

uint64_t sum_of(const std::vector<Cause>& causes) {
  uint64_t sum = 0;
  for (const Cause& cause : causes) sum += cause.count;
  return sum;
}

Json causes_json(const std::vector<Cause>& causes) {
  Json json = Json::object();
  for (const Cause& cause : causes) json[cause.key] = cause.count;
  return json;
}

void append_causes(Table& table, const std::vector<Cause>& causes, const char* before) {
  for (const Cause& cause : causes) {
    table.add({std::string("  ") + before + cause.text, number(cause.count)});
  }
}

// ---- programs ---------------------------------------------------------------------------

struct RunRate {
  double per_second = 0;
  uint64_t ns_per_run = 0;
};

RunRate rate_of(const ProgramList& before, const ebpf_program_row& now, double seconds) {
  for (const ebpf_program_row& row : before.rows) {
    if (bounded_string(row.name) != bounded_string(now.name) || row.runs > now.runs) continue;
    const uint64_t runs = now.runs - row.runs;
    if (runs == 0 || seconds <= 0) return {};
    return {static_cast<double>(runs) / seconds, (now.run_ns - row.run_ns) / runs};
  }
  return {};
}

const char* statistics_name(uint32_t statistics) {
  switch (statistics) {
    case EBPF_STATISTICS_ON:
      return "on";
    case EBPF_STATISTICS_NOT_ALLOWED:
      return "not_allowed";
    default:
      return "none";
  }
}

std::string map_type_name(uint32_t type) {
  const char* name = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
  return name ? name : "type " + std::to_string(type);
}

}  // namespace

const char* consumer_state_name(uint32_t state) {
  switch (state) {
    case EBPF_CONSUMER_AWAKE:
      return "awake";
    case EBPF_CONSUMER_ASLEEP:
      return "asleep";
    case EBPF_CONSUMER_STOPPED:
      return "stopped";
    case EBPF_CONSUMER_LAPPED:
      return "lapped";
    default:
      return "unknown";
  }
}

std::string consumer_process(const ebpf_consumer_row& consumer) {
  const std::string process = escape(bounded_string(consumer.process));
  if (!process.empty()) return process;
  const std::string name = escape(bounded_string(consumer.name));
  return name.empty() ? "-" : name;
}

std::string ring_text(const RingState& state, const ebpf_msg_stats& stats, TextStyle style) {
  const ebpf_msg_ring& ring = state.ring;
  std::string out;
  append_fact(out, "Epoch", number(ring.epoch));
  append_fact(out, "Lanes", number(ring.lane_count));
  append_fact(out, "Segments of a lane",
              number(ring.window_segments) + " of " + number(ring.segment_bytes) + " bytes");
  append_fact(
      out, "Window, records",
      number(ring.window_records) + " now, room for " + number(capacity(stats)) + " of full size");
  append_fact(out, "Window, bytes", number(ring.window_bytes));
  append_fact(out, "Window, seconds",
              ring.window_us == EBPF_UNKNOWN ? "- (nothing is published just now)"
                                             : seconds_text(ring.window_us) + " at this rate");
  append_fact(out, "Rate",
              number(ring.records_per_s) + " records/s, " + number(ring.bytes_per_s) + " bytes/s");
  append_fact(out, "Parked blocks", number(ring.parked_blocks) + " of " + number(ring.block_count));
  append_fact(out, "Consumers", number(ring.consumer_count) + " of " + number(ring.max_consumers));
  out += consumers_table(state, style);
  if (style.verbose) out += lanes_table(stats, style);
  return out;
}

std::string ring_json(const RingState& state, const ebpf_msg_stats& stats) {
  const ebpf_msg_ring& ring = state.ring;
  Json consumers = Json::array();
  for (const ebpf_consumer_row& row : state.consumers) consumers.push_back(consumer_json(row));
  return dump({{"schema_version", kSchemaVersion},
               {"epoch", ring.epoch},
               {"lane_count", ring.lane_count},
               {"window_segments", ring.window_segments},
               {"segment_bytes", ring.segment_bytes},
               {"window_records", ring.window_records},
               {"window_capacity_records", capacity(stats)},
               {"window_bytes", ring.window_bytes},
               {"window_us", or_null(ring.window_us)},
               {"records_per_s", ring.records_per_s},
               {"bytes_per_s", ring.bytes_per_s},
               {"block_count", ring.block_count},
               {"parked_blocks", ring.parked_blocks},
               {"max_consumers", ring.max_consumers},
               {"consumers", consumers}});
}

EventFlow event_flow(const ebpf_msg_stats& stats) {
  EventFlow flow;
  flow.perf_full = stats.kern_lost;
  flow.bad = stats.bad_events;
  flow.no_room = stats.user_enqueue_lost;
  flow.published = stats.user_enqueue_count;
  const uint64_t accounted = flow.perf_full + flow.bad + flow.no_room + flow.published;
  flow.in = std::max(stats.kern_emitted + stats.replayed, accounted);
  flow.pending = flow.in - accounted;
  return flow;
}

uint64_t calls_left_out(const ebpf_msg_stats& stats) { return sum_of(left_out(stats)); }

std::string loss_text(const RingState& state, const ebpf_msg_stats& stats, TextStyle style) {
  const EventFlow flow = event_flow(stats);
  const auto calls = left_out(stats);
  Table stages({{"STAGE", Align::kLeft}, {"COUNT"}});
  stages.add({"Socket calls left out", number(sum_of(calls))});
  append_causes(stages, calls, "");
  stages.add({stats.replayed > 0 ? "Events replayed" : "Events emitted", number(flow.in)});
  append_causes(stages, lost_events(flow), "lost: ");
  stages.add({"  on their way", number(flow.pending)});
  stages.add({"  published", number(flow.published)});
  if (style.verbose) {
    stages.add({"Events without a trace id (trace map full)", number(stats.kern_trace_map_full)});
    stages.add({"Records behind a younger one", number(stats.late_events)});
  }
  stages.add({"Records that dead consumers had not read", number(stats.undelivered)});
  std::string out = stages.text(style.color);

  Table consumers({{"CONSUMER"},
                   {"PID"},
                   {"PROCESS", Align::kLeft},
                   {"PUBLISHED"},
                   {"DELIVERED"},
                   {"FILTERED"},
                   {"LOST: LAPPED"},
                   {"UNREAD"}});
  for (const ebpf_consumer_row& row : state.consumers) {
    consumers.add({number(row.id), std::to_string(row.pid), consumer_process(row),
                   number(row.published), number(row.delivered), number(row.filtered),
                   number(row.lost), number(row.unread)});
  }
  if (!consumers.empty()) out += "\n" + consumers.text(style.color);
  return out;
}

std::string loss_json(const RingState& state, const ebpf_msg_stats& stats) {
  const EventFlow flow = event_flow(stats);
  const auto calls = left_out(stats);
  const auto lost = lost_events(flow);
  Json consumers = Json::array();
  for (const ebpf_consumer_row& row : state.consumers) {
    consumers.push_back({{"id", row.id},
                         {"pid", row.pid},
                         {"process", bounded_string(row.process)},
                         {"published", row.published},
                         {"delivered", row.delivered},
                         {"filtered", row.filtered},
                         {"lost", {{"lapped", row.lost}}},
                         {"unread", row.unread}});
  }
  return dump({{"schema_version", kSchemaVersion},
               {"calls", {{"left_out", sum_of(calls)}, {"causes", causes_json(calls)}}},
               {"events",
                {{"emitted", flow.in},
                 {"lost", sum_of(lost)},
                 {"causes", causes_json(lost)},
                 {"on_their_way", flow.pending},
                 {"published", flow.published}}},
               {"without_trace_id", stats.kern_trace_map_full},
               {"late", stats.late_events},
               {"undelivered", stats.undelivered},
               {"consumers", consumers}});
}

std::string programs_text(const ProgramList& before, const ProgramList& after, double seconds,
                          TextStyle style) {
  Table table({{"PROGRAM", Align::kLeft},
               {"ATTACHED TO", Align::kLeft},
               {"HOOKS"},
               {"RUNS/S"},
               {"NS/RUN"},
               {"RUNS"},
               {"MISSES"},
               {"INSNS"}});
  for (const ebpf_program_row& row : after.rows) {
    const RunRate rate = rate_of(before, row, seconds);
    const bool counted = after.statistics == EBPF_STATISTICS_ON;
    const std::string hook = escape(bounded_string(row.attached_to));
    table.add({escape(bounded_string(row.name)), hook.empty() ? "-" : hook, number(row.hooks),
               counted ? number(static_cast<uint64_t>(rate.per_second + 0.5)) : "-",
               counted && rate.ns_per_run > 0 ? number(rate.ns_per_run) : "-", number(row.runs),
               number(row.misses), number(row.instructions)});
  }
  std::string out = table.text(style.color);
  if (after.rows.empty()) return "No programs: this producer has no kernel side.\n";
  if (after.statistics == EBPF_STATISTICS_NOT_ALLOWED) {
    out += "\nRuns are counted for root and the producer's user only.\n";
  } else if (after.statistics == EBPF_STATISTICS_NONE) {
    out += "\nRuns are not counted: that needs Linux 5.8, and a producer with CAP_SYS_ADMIN.\n";
  }
  return out;
}

std::string programs_json(const ProgramList& before, const ProgramList& after, double seconds) {
  Json programs = Json::array();
  for (const ebpf_program_row& row : after.rows) {
    const RunRate rate = rate_of(before, row, seconds);
    programs.push_back({{"name", bounded_string(row.name)},
                        {"attached_to", bounded_string(row.attached_to)},
                        {"hooks", row.hooks},
                        {"instructions", row.instructions},
                        {"runs", row.runs},
                        {"run_ns", row.run_ns},
                        {"misses", row.misses},
                        {"runs_per_s", rate.per_second},
                        {"ns_per_run", rate.ns_per_run}});
  }
  return dump({{"schema_version", kSchemaVersion},
               {"statistics", statistics_name(after.statistics)},
               {"interval_s", seconds},
               {"programs", programs}});
}

std::string maps_text(const std::vector<ebpf_map_row>& maps, TextStyle style) {
  if (maps.empty()) return "No maps: this producer has no kernel side.\n";
  Table table({{"MAP", Align::kLeft},
               {"TYPE", Align::kLeft},
               {"KEY"},
               {"VALUE"},
               {"MAX"},
               {"USED"},
               {"MEMORY"}});
  uint64_t memory = 0;
  for (const ebpf_map_row& row : maps) {
    if (row.memory_bytes != EBPF_UNKNOWN) memory += row.memory_bytes;
    table.add({escape(bounded_string(row.name)), map_type_name(row.type), number(row.key_bytes),
               number(row.value_bytes), number(row.max_entries), or_dash(row.used),
               or_dash(row.memory_bytes)});
  }
  return table.text(style.color) + "\nSUM memory " + number(memory) + " bytes\n";
}

std::string maps_json(const std::vector<ebpf_map_row>& maps) {
  Json rows = Json::array();
  for (const ebpf_map_row& row : maps) {
    rows.push_back({{"name", bounded_string(row.name)},
                    {"type", map_type_name(row.type)},
                    {"key_bytes", row.key_bytes},
                    {"value_bytes", row.value_bytes},
                    {"max_entries", row.max_entries},
                    {"used", or_null(row.used)},
                    {"memory_bytes", or_null(row.memory_bytes)}});
  }
  return dump({{"schema_version", kSchemaVersion}, {"maps", rows}});
}

std::string evicted_text(uint32_t consumer_id) {
  return "consumer " + number(consumer_id) + " evicted\n";
}

std::string evicted_json(uint32_t consumer_id) {
  return dump({{"schema_version", kSchemaVersion}, {"evicted", consumer_id}});
}

}  // namespace ebpf::ctl

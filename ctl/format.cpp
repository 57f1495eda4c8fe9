// SPDX-License-Identifier: Apache-2.0
#include "ctl/format.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "ctl/names.h"

namespace ebpf::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTracerName = "socket-tracer";
constexpr const char* kBold = "\033[1m";
constexpr const char* kRed = "\033[31m";
constexpr const char* kPlain = "\033[0m";

// The original tool's order; what is none of them comes last.
constexpr uint16_t kProtocols[EBPF_PROTOCOL_COUNT] = {
    SOCK_DATA_HTTP1, SOCK_DATA_HTTP2, SOCK_DATA_MYSQL, SOCK_DATA_DNS,
    SOCK_DATA_REDIS, SOCK_DATA_KAFKA, SOCK_DATA_DUBBO, SOCK_DATA_UNKNOWN};

[[gnu::format(printf, 2, 3)]] void append(std::string& out, const char* format, ...) {
  va_list args;
  va_start(args, format);
  char* line = nullptr;
  const int length = ::vasprintf(&line, format, args);
  va_end(args);
  if (length < 0) return;
  out.append(line, static_cast<size_t>(length));
  ::free(line);
}

std::string colored(const std::string& text, const char* color, TextStyle style) {
  return style.color ? color + text + kPlain : text;
}

void append_heading(std::string& out, const std::string& heading, TextStyle style) {
  out += "\n" + colored(heading, kBold, style) + "\n";
}

void append_field(std::string& out, const char* label, const std::string& value) {
  append(out, "%-15s%s\n", label, value.c_str());
}

uint64_t events_lost(const ebpf_msg_stats& stats) {
  return stats.kern_lost + stats.user_enqueue_lost;
}

// The two counters are not read at one instant, so that their difference can be a little
// below 0 or above what the lane holds.
uint64_t queue_size(const ebpf_lane_stats& lane) {
  if (lane.dequeued >= lane.enqueued) return 0;
  return std::min(lane.enqueued - lane.dequeued, lane.capacity);
}

// Memory is allocated once for all workers; the first one's line tells of its failures,
// so that the lines add up to the sum.
uint64_t alloc_failures(const ebpf_msg_stats& stats, uint32_t lane) {
  return lane == 0 ? stats.mem_alloc_fail_count : 0;
}

void append_queues(std::string& out, const ebpf_msg_stats& stats, TextStyle style) {
  append_heading(out, "-------------------- Queue ---------------------------", style);
  for (uint32_t i = 0; i < stats.lane_count; i++) {
    const ebpf_lane_stats& lane = stats.lanes[i];
    // "faild" is how the original spells it, and scripts match it.
    append(out,
           "worker %" PRIu32 " for queue, de %" PRIu64 " en %" PRIu64 " lost %" PRIu64
           " alloc faild %" PRIu64 " burst %" PRIu64 " queue size %" PRIu64 " cap %" PRIu64 "\n",
           i, lane.dequeued, lane.enqueued, lane.lost, alloc_failures(stats, i), lane.bursts,
           queue_size(lane), lane.capacity);
  }
  append(out,
         "\nSUM dequeue %" PRIu64 " enqueue %" PRIu64 ", lost %" PRIu64 ", alloc faild %" PRIu64
         " burst count %" PRIu64 "\n",
         stats.user_dequeue_count, stats.user_enqueue_count, stats.user_enqueue_lost,
         stats.mem_alloc_fail_count, stats.queue_burst_count);
}

void append_protocols(std::string& out, const ebpf_msg_stats& stats, TextStyle style) {
  append_heading(out, "-------------------- Protocol ------------------------", style);
  for (const uint16_t protocol : kProtocols) {
    const uint64_t count = stats.protocol[ebpf_protocol_index(protocol)];
    if (count == 0) continue;
    append(out, "- %-11s%" PRIu64 "\n", ebpf_protocol_name(protocol), count);
  }
}

void append_count(std::string& out, const char* label, uint64_t count) {
  append(out, "%-24s%" PRIu64 "\n", label, count);
}

void append_name(std::string& out, const char* label, const std::string& name) {
  append(out, "%-24s%s\n", label, name.c_str());
}

std::string filters_text(const ebpf_msg_stats& stats) {
  const std::string text = escape(bounded_string(stats.filters));
  return text.empty() ? "none" : text;
}

void append_losses(std::string& out, const ebpf_msg_stats& stats, TextStyle style) {
  append_heading(out, "-------------------- Lost by stage -------------------", style);
  append_count(out, "Perf buffer full", stats.kern_lost);
  append_count(out, "Socket map full", stats.kern_socket_map_full);
  append_count(out, "Trace map full", stats.kern_trace_map_full);
  append_count(out, "Payload not readable", stats.kern_bad_pointer);
  append_count(out, "Left out by the kernel", stats.kern_skipped);
  append_count(out, "Bad events", stats.bad_events);
  append_count(out, "No room in the ring", stats.user_enqueue_lost);
  append_count(out, "Left by dead consumers", stats.undelivered);
}

void append_tracer_details(std::string& out, const ebpf_msg_stats& stats, TextStyle style) {
  append_heading(out, "-------------------- Producer ------------------------", style);
  append_count(out, "Pid", stats.producer_pid);
  append_name(out, "State", state_name(stats.tracer_state));
  append_count(out, "Epoch", stats.epoch);
  append(out, "%-24s%" PRIu64 ".%03" PRIu64 " s\n", "Uptime", stats.uptime_us / 1000000,
         stats.uptime_us / 1000 % 1000);
  append_name(out, "Kernel", escape(bounded_string(stats.kernel_release)));
  append_name(out, "Attached by", attach_name(stats.attach));
  append_name(out, "Events through", transport_name(stats.transport));
  append_name(out, "Offsets from", offsets_name(stats.offsets_source));
  append(out, "%-24s%" PRIu32 " of %" PRIu32 "\n", "Consumers", stats.consumer_count,
         stats.max_consumers);
  append(out, "%-24s%" PRIu32 " segments of %" PRIu64 " bytes\n", "Window of a worker",
         stats.window_segments, stats.segment_bytes);
  append(out, "%-24s%" PRIu64 " bytes on %s pages%s, NUMA node %s\n", "Ring", stats.ring_bytes,
         pages_name(stats.ring_pages), stats.ring_prefault != 0 ? ", prefaulted" : "",
         node_name(stats.ring_numa_node).c_str());
  append(out, "%-24s%" PRIu32 " of %" PRIu32 " pages\n", "Perf buffers", stats.cpu_count,
         stats.perf_pages_count);
  append_count(out, "Capture limit, bytes", stats.cap_bytes);
  append_name(out, "Unknown protocols", stats.capture_unknown ? "delivered" : "not delivered");
  append_name(out, "Filters", filters_text(stats));
  append_count(out, "Wake-ups", stats.wakeups);
  append_count(out, "Connections refused", stats.connections_refused);
  append_count(out, "Joins refused", stats.joins_refused);
  append_count(out, "Consumers evicted", stats.evicted);

  append_heading(out, "-------------------- Events --------------------------", style);
  append_count(out, "Emitted in the kernel", stats.kern_emitted);
  append_count(out, "Replayed", stats.replayed);
  append_count(out, "Late", stats.late_events);
  append_count(out, "Of no known protocol", stats.kern_unknown);
  append_count(out, "Filtered by port", stats.kern_filtered_port);
  append_count(out, "Filtered by process id", stats.kern_filtered_pid);
  append_count(out, "Filtered by name", stats.kern_filtered_name);

  append_losses(out, stats, style);
}

Json protocols_json(const ebpf_msg_stats& stats) {
  Json protocols;
  for (const uint16_t protocol : kProtocols) {
    protocols[ebpf_protocol_name(protocol)] = stats.protocol[ebpf_protocol_index(protocol)];
  }
  return protocols;
}

Json lanes_json(const ebpf_msg_stats& stats) {
  Json lanes = Json::array();
  for (uint32_t i = 0; i < stats.lane_count; i++) {
    const ebpf_lane_stats& lane = stats.lanes[i];
    lanes.push_back({{"lane", i},
                     {"enqueued", lane.enqueued},
                     {"dequeued", lane.dequeued},
                     {"lost", lane.lost},
                     {"bursts", lane.bursts},
                     {"gaps", lane.gaps},
                     {"queue_size", queue_size(lane)},
                     {"capacity", lane.capacity}});
  }
  return lanes;
}

// Bytes that are no UTF-8 become U+FFFD: JSON has no other way, and must stay valid.
std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

const ebpf_offset_entry* find_offset(const ebpf_msg_offsets& offsets, std::string_view name) {
  for (uint32_t i = 0; i < offsets.entry_count; i++) {
    if (bounded_string(offsets.entries[i].name) == name) return &offsets.entries[i];
  }
  return nullptr;
}

struct ShownOffset {
  const char* label;
  const char* name;  // in the producer's table; nullptr: nothing of ours depends on it
};

// The five that the original shows. Its sock__flags_offset is the word of bit fields that
// held sk_protocol and sk_type before Linux 5.6; what stands in its place is the offset
// of sk_protocol itself, which is what was wanted of that word.
constexpr ShownOffset kShownOffsets[] = {
    {"task__files_offset", "task_struct.files"},
    {"sock__flags_offset", "sock.sk_protocol"},
    {"socket__has_wq_ptr", nullptr},
    {"tcp_sock__copied_seq_offset", "tcp_sock.copied_seq"},
    {"tcp_sock__write_seq_offset", "tcp_sock.write_seq"},
};

std::string shown_offset(const ebpf_msg_offsets& offsets, const ShownOffset& shown) {
  if (shown.name == nullptr) return "0x0(no use)";
  const ebpf_offset_entry* entry = find_offset(offsets, shown.name);
  std::string text;
  append(text, "0x%" PRIx32, entry ? entry->offset : 0);
  return text;
}

void append_cpus(std::string& out, const ebpf_msg_offsets& offsets, bool ready) {
  for (uint32_t cpu = 0; cpu < offsets.cpu_count; cpu++) {
    out += "----------------------------------\n";
    append(out, "cpu: \t%" PRIu32 "\nready: \t%d\n", cpu, ready);
    for (const ShownOffset& shown : kShownOffsets) {
      append(out, "%s: \t%s\n", shown.label, shown_offset(offsets, shown).c_str());
    }
  }
}

void append_offset_table(std::string& out, const ebpf_msg_offsets& offsets, TextStyle style) {
  append_heading(out, "-------------------- Offsets -------------------------", style);
  for (uint32_t i = 0; i < offsets.entry_count; i++) {
    const ebpf_offset_entry& entry = offsets.entries[i];
    append(out, "%-40s 0x%-6" PRIx32 " %s\n", escape(bounded_string(entry.name)).c_str(),
           entry.offset, offsets_name(entry.source));
  }
}

// One table serves every CPU: it is there for all of them, or for none.
bool offsets_ready(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets) {
  return stats.is_adapt_success != 0 && offsets.entry_count > 0;
}

}  // namespace

std::string tracer_text(const ebpf_msg_stats& stats, TextStyle style) {
  std::string out;
  const uint64_t lost = events_lost(stats);
  const std::string lost_text = std::to_string(lost);
  append_field(out, "Tracer", kTracerName);
  append_field(out, "Bpf File", escape(bounded_string(stats.bpf_file)));
  append_field(out, "Workers", std::to_string(stats.lane_count));
  append_field(out, "Events Lost", lost == 0 ? lost_text : colored(lost_text, kRed, style));
  append_queues(out, stats, style);
  append_protocols(out, stats, style);
  if (style.verbose) append_tracer_details(out, stats, style);
  return out;
}

std::string tracer_json(const ebpf_msg_stats& stats) {
  return dump({{"schema_version", kSchemaVersion},
               {"tracer", kTracerName},
               {"tracer_state", state_name(stats.tracer_state)},
               {"is_adapt_success", stats.is_adapt_success != 0},
               {"producer_pid", stats.producer_pid},
               {"epoch", stats.epoch},
               {"uptime_us", stats.uptime_us},
               {"bpf_file", bounded_string(stats.bpf_file)},
               {"kernel_release", bounded_string(stats.kernel_release)},
               {"attach", attach_name(stats.attach)},
               {"transport", transport_name(stats.transport)},
               {"offsets_source", offsets_name(stats.offsets_source)},
               {"worker_num", stats.lane_count},
               {"events_lost", events_lost(stats)},
               {"perf_pages_count", stats.perf_pages_count},
               {"cpu_count", stats.cpu_count},
               {"cap_bytes", stats.cap_bytes},
               {"kern_socket_map_max", stats.kern_socket_map_max},
               {"kern_socket_map_used", stats.kern_socket_map_used},
               {"kern_trace_map_max", stats.kern_trace_map_max},
               {"kern_trace_map_used", stats.kern_trace_map_used},
               {"socket_map_max_reclaim", stats.socket_map_max_reclaim},
               {"kern_emitted", stats.kern_emitted},
               {"kern_lost", stats.kern_lost},
               {"kern_socket_map_full", stats.kern_socket_map_full},
               {"kern_trace_map_full", stats.kern_trace_map_full},
               {"kern_unknown", stats.kern_unknown},
               {"kern_bad_pointer", stats.kern_bad_pointer},
               {"kern_filtered_port", stats.kern_filtered_port},
               {"kern_filtered_pid", stats.kern_filtered_pid},
               {"kern_filtered_name", stats.kern_filtered_name},
               {"kern_skipped", stats.kern_skipped},
               {"capture_unknown", stats.capture_unknown != 0},
               {"filters", bounded_string(stats.filters)},
               {"user_enqueue_count", stats.user_enqueue_count},
               {"user_dequeue_count", stats.user_dequeue_count},
               {"user_enqueue_lost", stats.user_enqueue_lost},
               {"queue_burst_count", stats.queue_burst_count},
               {"mem_alloc_fail_count", stats.mem_alloc_fail_count},
               {"bad_events", stats.bad_events},
               {"late_events", stats.late_events},
               {"replayed", stats.replayed},
               {"undelivered", stats.undelivered},
               {"wakeups", stats.wakeups},
               {"connections_refused", stats.connections_refused},
               {"joins_refused", stats.joins_refused},
               {"evicted", stats.evicted},
               {"consumer_count", stats.consumer_count},
               {"max_consumers", stats.max_consumers},
               {"window_segments", stats.window_segments},
               {"segment_bytes", stats.segment_bytes},
               {"ring_bytes", stats.ring_bytes},
               {"ring_pages", pages_name(stats.ring_pages)},
               {"ring_prefault", stats.ring_prefault != 0},
               {"ring_numa_node",
                stats.ring_numa_node == EBPF_NUMA_ANY ? Json(nullptr) : Json(stats.ring_numa_node)},
               {"lanes", lanes_json(stats)},
               {"protocols", protocols_json(stats)}});
}

std::string tracer_state_text(uint8_t tracer_state) {
  return std::string(kTracerName) + " " + state_name(tracer_state) + "\n";
}

std::string tracer_state_json(uint8_t tracer_state) {
  return dump({{"schema_version", kSchemaVersion},
               {"tracer", kTracerName},
               {"tracer_state", state_name(tracer_state)}});
}

std::string socktrace_text(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets,
                           TextStyle style) {
  std::string out;
  append(out, "Linux Version: %s\n\n", escape(bounded_string(stats.kernel_release)).c_str());
  append(out, "kern_socket_map_max:\t%" PRIu32 "\n", stats.kern_socket_map_max);
  append(out, "kern_socket_map_used:\t%" PRIu32 "\n", stats.kern_socket_map_used);
  append(out, "kern_trace_map_max:\t%" PRIu32 "\n", stats.kern_trace_map_max);
  append(out, "kern_trace_map_used:\t%" PRIu32 "\n", stats.kern_trace_map_used);
  append(out, "\nCPUs: %" PRIu32 "\n", offsets.cpu_count);
  append_cpus(out, offsets, offsets_ready(stats, offsets));
  if (!style.verbose) return out;
  append_offset_table(out, offsets, style);
  append_heading(out, "-------------------- Producer ------------------------", style);
  append_count(out, "Epoch", stats.epoch);
  append_name(out, "Attached by", attach_name(stats.attach));
  append_name(out, "Offsets from", offsets_name(stats.offsets_source));
  append_losses(out, stats, style);
  return out;
}

std::string socktrace_json(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets) {
  Json table = Json::array();
  for (uint32_t i = 0; i < offsets.entry_count; i++) {
    const ebpf_offset_entry& entry = offsets.entries[i];
    table.push_back({{"name", bounded_string(entry.name)},
                     {"offset", entry.offset},
                     {"source", offsets_name(entry.source)}});
  }
  return dump({{"schema_version", kSchemaVersion},
               {"kernel_release", bounded_string(stats.kernel_release)},
               {"kern_socket_map_max", stats.kern_socket_map_max},
               {"kern_socket_map_used", stats.kern_socket_map_used},
               {"kern_trace_map_max", stats.kern_trace_map_max},
               {"kern_trace_map_used", stats.kern_trace_map_used},
               {"cpu_count", offsets.cpu_count},
               {"ready", offsets_ready(stats, offsets)},
               {"offsets", table}});
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
#include "ctl/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ctl/format_ring.h"
#include "ctl/names.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr uint64_t kPageBytes = 4096;

struct Sample {
  double value = 0;
  std::vector<ClientMetric::Label> labels;

  Sample(uint64_t number, std::vector<ClientMetric::Label> names = {})
      : value(static_cast<double>(number)), labels(std::move(names)) {}
};

void add(MetricFamilies& families, MetricType type, const char* name, const char* help,
         const std::vector<Sample>& samples) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  for (const Sample& sample : samples) {
    ClientMetric metric;
    metric.label = sample.labels;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = sample.value;
    family.metric.push_back(std::move(metric));
  }
  families.push_back(std::move(family));
}

void counter(MetricFamilies& families, const char* name, const char* help,
             const std::vector<Sample>& samples) {
  add(families, MetricType::Counter, name, help, samples);
}

void gauge(MetricFamilies& families, const char* name, const char* help,
           const std::vector<Sample>& samples) {
  add(families, MetricType::Gauge, name, help, samples);
}

void add_producer(MetricFamilies& out, const ebpf_msg_stats& stats, uint64_t now_us) {
  gauge(out, "ebpf_up", "Whether the producer answers.", {1});
  gauge(out, "ebpf_producer_info", "What the producer runs on; the value says nothing.",
        {{1,
          {{"kernel", escape(bounded_string(stats.kernel_release))},
           {"attach", attach_name(stats.attach)},
           {"offsets", offsets_name(stats.offsets_source)}}}});
  Sample started(0);
  started.value = static_cast<double>(now_us - std::min(now_us, stats.uptime_us)) / 1e6;
  gauge(out, "ebpf_producer_start_time_seconds", "When the producer started, since 1970.",
        {started});
  gauge(out, "ebpf_tracer_running", "Whether the tracer captures.",
        {stats.tracer_state == TRACER_RUNNING});
  gauge(out, "ebpf_tracer_adapted", "Whether the tracer has adapted to the kernel.",
        {stats.is_adapt_success != 0});
  gauge(out, "ebpf_capture_limit_bytes", "Payload bytes captured of a system call at most.",
        {stats.cap_bytes});
}

void add_kernel(MetricFamilies& out, const ebpf_msg_stats& stats) {
  counter(out, "ebpf_events_emitted_total", "Events that the kernel side decided to emit.",
          {stats.kern_emitted});
  const EventFlow flow = event_flow(stats);
  counter(out, "ebpf_events_lost_total", "Events emitted that did not reach the ring, by cause.",
          {{flow.perf_full, {{"cause", "perf_buffer_full"}}},
           {flow.bad, {{"cause", "event_not_valid"}}},
           {flow.no_room, {{"cause", "no_room_in_ring"}}}});
  counter(out, "ebpf_calls_skipped_total", "Socket calls that became no event, by cause.",
          {{stats.kern_unknown, {{"cause", "not_recognised"}}},
           {stats.kern_socket_map_full, {{"cause", "socket_map_full"}}},
           {stats.kern_bad_pointer, {{"cause", "payload_not_readable"}}},
           {stats.kern_skipped, {{"cause", "left_out_by_kernel"}}},
           {stats.kern_filtered_port, {{"cause", "filtered_port"}}},
           {stats.kern_filtered_pid, {{"cause", "filtered_pid"}}},
           {stats.kern_filtered_name, {{"cause", "filtered_name"}}}});
  counter(out, "ebpf_events_untraced_total", "Events without a trace id: the trace map was full.",
          {stats.kern_trace_map_full});
  gauge(out, "ebpf_map_entries", "Entries in use of the kernel side's maps.",
        {{stats.kern_socket_map_used, {{"map", "socket"}}},
         {stats.kern_trace_map_used, {{"map", "trace"}}}});
  gauge(out, "ebpf_map_entries_limit", "Entries that the kernel side's maps can hold.",
        {{stats.kern_socket_map_max, {{"map", "socket"}}},
         {stats.kern_trace_map_max, {{"map", "trace"}}}});
  gauge(out, "ebpf_socket_map_reclaim_threshold", "Entries from which idle sockets are swept.",
        {stats.socket_map_max_reclaim});
  gauge(out, "ebpf_perf_buffers", "Perf buffers, one for each CPU.", {stats.cpu_count});
  gauge(out, "ebpf_perf_buffer_size_bytes", "Size of each perf buffer.",
        {stats.perf_pages_count * kPageBytes});
}

void add_records(MetricFamilies& out, const ebpf_msg_stats& stats) {
  std::vector<Sample> protocols;
  for (const uint16_t protocol :
       {SOCK_DATA_UNKNOWN, SOCK_DATA_HTTP1, SOCK_DATA_HTTP2, SOCK_DATA_DUBBO, SOCK_DATA_MYSQL,
        SOCK_DATA_REDIS, SOCK_DATA_KAFKA, SOCK_DATA_DNS}) {
    protocols.push_back({stats.protocol[ebpf_protocol_index(protocol)],
                         {{"protocol", ebpf_protocol_name(protocol)}}});
  }
  counter(out, "ebpf_records_total", "Records published in the ring, by protocol.", protocols);

  std::vector<Sample> published;
  std::vector<Sample> passed;
  std::vector<Sample> lost;
  std::vector<Sample> gaps;
  std::vector<Sample> capacity;
  for (uint32_t i = 0; i < std::min<uint32_t>(stats.lane_count, EBPF_LANES_MAX); i++) {
    const ebpf_lane_stats& lane = stats.lanes[i];
    const std::vector<ClientMetric::Label> label{{"lane", std::to_string(i)}};
    published.emplace_back(lane.enqueued, label);
    passed.emplace_back(lane.dequeued, label);
    lost.emplace_back(lane.lost, label);
    gaps.emplace_back(lane.gaps, label);
    capacity.emplace_back(lane.capacity, label);
  }
  counter(out, "ebpf_lane_records_total", "Records published, by lane of the ring.", published);
  counter(out, "ebpf_lane_records_passed_total",
          "Records that at least one consumer has passed, by lane.", passed);
  counter(out, "ebpf_lane_records_lost_total", "Records for which the lane had no room.", lost);
  counter(out, "ebpf_lane_gap_notices_total", "Notices of lost events published, by lane.", gaps);
  gauge(out, "ebpf_lane_capacity_records", "Full-size records that the lane holds at least.",
        capacity);
  counter(out, "ebpf_records_late_total", "Records published behind a younger one.",
          {stats.late_events});
  counter(out, "ebpf_records_replayed_total", "Records read from a recorded trace.",
          {stats.replayed});
  counter(out, "ebpf_bursts_total", "Publishes of a whole burst of 16 records.",
          {stats.queue_burst_count});
  counter(out, "ebpf_allocation_failures_total", "Allocations that failed in the producer.",
          {stats.mem_alloc_fail_count});
}

Sample seconds(uint64_t time_us) {
  Sample sample(0);
  sample.value = static_cast<double>(time_us) / 1e6;
  return sample;
}

void add_ring(MetricFamilies& out, const ebpf_msg_stats& stats, const ebpf_msg_ring& ring) {
  gauge(out, "ebpf_ring_size_bytes", "Memory of the ring.", {stats.ring_bytes});
  gauge(out, "ebpf_ring_window_records", "Records that the ring holds now.", {ring.window_records});
  gauge(out, "ebpf_ring_parked_blocks", "Blocks retired that a consumer still reads.",
        {ring.parked_blocks});
  Sample window = seconds(ring.window_us);
  if (ring.window_us == EBPF_UNKNOWN) window.value = std::numeric_limits<double>::infinity();
  gauge(out, "ebpf_ring_window_seconds",
        "For how long the ring holds a record at the present rate.", {window});
}

void add_consumers(MetricFamilies& out, const ebpf_msg_stats& stats) {
  gauge(out, "ebpf_consumers", "Consumers that are attached.", {stats.consumer_count});
  gauge(out, "ebpf_consumers_limit", "Consumers that can be attached.", {stats.max_consumers});
  counter(out, "ebpf_consumer_wakeups_total", "Wake-ups of sleeping consumers.", {stats.wakeups});
  counter(out, "ebpf_consumers_evicted_total",
          "Consumers detached: by an operator, or for what they sent.", {stats.evicted});
  counter(out, "ebpf_records_undelivered_total", "Records that consumers which died had not read.",
          {stats.undelivered});
  counter(out, "ebpf_joins_refused_total", "Joins refused: too fast, or no slot.",
          {stats.joins_refused});
  counter(out, "ebpf_connections_refused_total", "Connections refused: too many, or too fast.",
          {stats.connections_refused});
}

// No series for a single one: there may be any number of them in the course of time.
void add_all_consumers(MetricFamilies& out, const std::vector<ebpf_consumer_row>& rows) {
  uint64_t states[4] = {};
  uint64_t lag_us = 0;
  uint64_t unread = 0;
  for (const ebpf_consumer_row& row : rows) {
    if (row.state < std::size(states)) states[row.state]++;
    lag_us = std::max(lag_us, row.lag_us);
    unread = std::max(unread, row.unread);
  }
  std::vector<Sample> samples;
  for (uint32_t state = 0; state < std::size(states); state++) {
    samples.push_back({states[state], {{"state", consumer_state_name(state)}}});
  }
  gauge(out, "ebpf_consumer_states", "Consumers that are attached, by state.", samples);
  gauge(out, "ebpf_consumer_lag_max_seconds", "How far the consumer that lags most is behind.",
        {seconds(lag_us)});
  gauge(out, "ebpf_consumer_unread_max_records", "Unread records of the consumer with the most.",
        {unread});
}

void add_each_consumer(MetricFamilies& out, const std::vector<ebpf_consumer_row>& rows) {
  std::vector<Sample> delivered;
  std::vector<Sample> lost;
  std::vector<Sample> unread;
  std::vector<Sample> lag;
  for (const ebpf_consumer_row& row : rows) {
    const std::vector<ClientMetric::Label> labels{{"consumer", std::to_string(row.id)},
                                                  {"pid", std::to_string(row.pid)},
                                                  {"process", consumer_process(row)}};
    delivered.emplace_back(row.delivered, labels);
    lost.emplace_back(row.lost, labels);
    unread.emplace_back(row.unread, labels);
    lag.push_back(seconds(row.lag_us));
    lag.back().labels = labels;
  }
  if (rows.empty()) return;
  counter(out, "ebpf_consumer_delivered_total", "Records delivered to the consumer.", delivered);
  counter(out, "ebpf_consumer_lost_total", "Records that the consumer was too slow for.", lost);
  gauge(out, "ebpf_consumer_unread_records", "Records that the consumer has not read yet.", unread);
  gauge(out, "ebpf_consumer_lag_seconds", "Age of the record that the consumer reads next.", lag);
}

const char* type_name(MetricType type) { return type == MetricType::Counter ? "counter" : "gauge"; }

}  // namespace

MetricFamilies metrics_of(const Snapshot& snapshot, bool per_consumer) {
  const ebpf_msg_stats& stats = snapshot.stats;
  MetricFamilies families;
  add_producer(families, stats, snapshot.taken_us);
  add_kernel(families, stats);
  add_records(families, stats);
  add_ring(families, stats, snapshot.ring.ring);
  add_consumers(families, stats);
  add_all_consumers(families, snapshot.ring.consumers);
  if (per_consumer) add_each_consumer(families, snapshot.ring.consumers);
  return families;
}

MetricFamilies metrics_without_producer() {
  MetricFamilies families;
  gauge(families, "ebpf_up", "Whether the producer answers.", {0});
  return families;
}

std::string metrics_text(const MetricFamilies& families) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

std::string metrics_json(const MetricFamilies& families) {
  using Json = nlohmann::ordered_json;
  Json metrics = Json::array();
  for (const MetricFamily& family : families) {
    Json samples = Json::array();
    for (const ClientMetric& metric : family.metric) {
      Json labels = Json::object();
      for (const auto& label : metric.label) labels[label.name] = label.value;
      const bool counts = family.type == MetricType::Counter;
      samples.push_back(
          {{"labels", labels}, {"value", counts ? metric.counter.value : metric.gauge.value}});
    }
    metrics.push_back({{"name", family.name},
                       {"type", type_name(family.type)},
                       {"help", family.help},
                       {"samples", samples}});
  }
  return Json{{"schema_version", 1}, {"metrics", metrics}}.dump(2) + "\n";
}

}  // namespace ebpf::ctl

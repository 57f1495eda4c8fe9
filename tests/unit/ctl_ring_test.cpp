// SPDX-License-Identifier: Apache-2.0
// How ebpfctl shows the ring, losses, programs and maps.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "ctl/format_ring.h"
#include "ctl/table.h"
#include "tests/unit/ctl_samples.h"

namespace ebpf::ctl {
namespace {

using namespace ebpf::test;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); });
}

ebpf_consumer_row sample_consumer(uint32_t id) {
  ebpf_consumer_row row{};
  row.id = id;
  row.pid = 4000 + static_cast<int32_t>(id);
  row.uid = 0;
  row.state = EBPF_CONSUMER_ASLEEP;
  std::strcpy(row.name, "agent");
  std::strcpy(row.process, "ebpf-tail");
  row.lanes = 0b1011;
  row.position = 100;
  row.published = 90;
  row.delivered = 70;
  row.filtered = 5;
  row.lost = 10;
  row.unread = 5;
  row.lag_us = 12345;
  row.wakeups = 3;
  return row;
}

RingState sample_ring() {
  RingState state{};
  state.ring.epoch = 1700000000000001;
  state.ring.lane_count = 4;
  state.ring.window_segments = 17;
  state.ring.segment_bytes = 262144;
  state.ring.window_records = 1234;
  state.ring.window_bytes = 17825792;
  state.ring.window_us = 12345678;
  state.ring.parked_blocks = 2;
  state.ring.block_count = 100;
  state.ring.consumer_count = 2;
  state.ring.max_consumers = 16;
  state.consumers = {sample_consumer(1), sample_consumer(12)};
  return state;
}

TEST(CtlRing, OneLineForEachConsumerInColumnsThatLineUp) {
  const std::string text = ring_text(sample_ring(), sample_stats(), {});
  EXPECT_TRUE(contains(text, "Window, seconds         12.3 s at this rate\n"));
  EXPECT_TRUE(contains(text, "Parked blocks           2 of 100\n"));
  EXPECT_TRUE(contains(text,
                       "ID   PID  PROCESS    USER  LANES  POSITION  LAG  LAG MS  DELIVERED  "
                       "FILTERED  LOST  WAKE-UPS  STATE\n"
                       " 1  4001  ebpf-tail  root  0-1,3       100    5  12.345         70  "
                       "       5    10         3  asleep\n"
                       "12  4012  ebpf-tail  root  0-1,3       100    5  12.345         70  "
                       "       5    10         3  asleep\n"))
      << text;
}

TEST(CtlRing, NoSecondsWhereNothingIsPublished) {
  RingState state = sample_ring();
  state.ring.window_us = EBPF_UNKNOWN;
  EXPECT_TRUE(contains(ring_text(state, sample_stats(), {}), "Window, seconds         - ("));
  EXPECT_TRUE(nlohmann::json::parse(ring_json(state, sample_stats()))["window_us"].is_null());
}

TEST(CtlRing, LossesAddUpAtEveryStage) {
  ebpf_msg_stats stats = sample_stats();
  stats.kern_emitted = 40000;
  stats.kern_lost = 1000;
  stats.bad_events = 3;
  stats.user_enqueue_lost = 17;
  stats.kern_unknown = 5;
  stats.kern_filtered_pid = 6;
  const auto json = nlohmann::json::parse(loss_json(sample_ring(), stats));
  const auto& events = json["events"];
  EXPECT_EQ(events["emitted"], 40000);
  EXPECT_EQ(events["lost"], 1020);
  EXPECT_EQ(events["lost"].get<uint64_t>() + events["on_their_way"].get<uint64_t>() +
                events["published"].get<uint64_t>(),
            events["emitted"].get<uint64_t>());
  EXPECT_EQ(json["calls"]["left_out"], 11);
  for (const auto& consumer : json["consumers"]) {
    EXPECT_EQ(consumer["published"].get<uint64_t>(),
              consumer["delivered"].get<uint64_t>() + consumer["filtered"].get<uint64_t>() +
                  consumer["lost"]["lapped"].get<uint64_t>() + consumer["unread"].get<uint64_t>());
  }
}

// The counters are read one after the other; events go on meanwhile.
TEST(CtlRing, LossesAddUpAlsoWhereMoreWasPublishedThanEmitted) {
  ebpf_msg_stats stats = sample_stats();
  stats.kern_emitted = stats.user_enqueue_count - 1;
  const EventFlow flow = event_flow(stats);
  EXPECT_EQ(flow.in, flow.published);
  EXPECT_EQ(flow.pending, 0u);
}

ProgramList sample_programs(uint64_t runs) {
  ProgramList list{EBPF_STATISTICS_ON, {}};
  ebpf_program_row row{};
  std::strcpy(row.name, "raw_exit");
  std::strcpy(row.attached_to, "sys_exit");
  row.hooks = 1;
  row.runs = runs;
  row.run_ns = runs * 250;
  row.misses = 4;
  list.rows.push_back(row);
  return list;
}

TEST(CtlProbe, RunsPerSecondAreThoseBetweenTheLooks) {
  const std::string text = programs_text(sample_programs(1000), sample_programs(3000), 2, {});
  EXPECT_TRUE(contains(text, "raw_exit  sys_exit         1    1000     250  3000       4      0\n"))
      << text;
  const auto json =
      nlohmann::json::parse(programs_json(sample_programs(1000), sample_programs(3000), 2));
  EXPECT_EQ(json["statistics"], "on");
  EXPECT_EQ(json["programs"][0]["ns_per_run"], 250);
  EXPECT_EQ(json["programs"][0]["runs_per_s"], 1000);
}

TEST(CtlProbe, SaysWhyRunsAreNotCounted) {
  ProgramList list = sample_programs(0);
  list.statistics = EBPF_STATISTICS_NOT_ALLOWED;
  EXPECT_TRUE(contains(programs_text(list, list, 1, {}), "root and the producer's user only"));
  list.statistics = EBPF_STATISTICS_NONE;
  EXPECT_TRUE(contains(programs_text(list, list, 1, {}), "needs Linux 5.8"));
}

TEST(CtlMap, UnknownNumbersAreDashesAndNulls) {
  ebpf_map_row row{};
  std::strcpy(row.name, "socket_map");
  row.type = 1;
  row.max_entries = 10;
  row.used = row.memory_bytes = EBPF_UNKNOWN;
  EXPECT_TRUE(contains(maps_text({row}, {}), "socket_map  hash    0      0   10     -       -\n"))
      << maps_text({row}, {});
  EXPECT_TRUE(nlohmann::json::parse(maps_json({row}))["maps"][0]["used"].is_null());
}

TEST(CtlRing, NoRawByteOfANameReachesTheTerminal) {
  for (int first = 0; first < 256; first += 15) {
    RingState state = sample_ring();
    ProgramList programs = sample_programs(1);
    ebpf_map_row map{};
    for (int i = 0; i < 15; i++) {
      const auto byte = static_cast<char>(first + i);
      state.consumers[0].process[i] = byte;
      state.consumers[1].process[0] = '\0';
      state.consumers[1].name[i] = byte;
      programs.rows[0].name[i] = programs.rows[0].attached_to[i] = map.name[i] = byte;
    }
    for (const TextStyle style : {TextStyle{}, TextStyle{.verbose = true}}) {
      EXPECT_TRUE(printable(ring_text(state, sample_stats(), style)));
      EXPECT_TRUE(printable(loss_text(state, sample_stats(), style)));
      EXPECT_TRUE(printable(programs_text(programs, programs, 1, style)));
      EXPECT_TRUE(printable(maps_text({map}, style)));
    }
    for (const std::string& text :
         {ring_json(state, sample_stats()), loss_json(state, sample_stats()),
          programs_json(programs, programs, 1), maps_json({map})}) {
      EXPECT_EQ(nlohmann::json::parse(text)["schema_version"], kSchemaVersion);
    }
  }
}

TEST(CtlTable, LanesAreRanges) {
  EXPECT_EQ(lanes_text(0), "none");
  EXPECT_EQ(lanes_text(1), "0");
  EXPECT_EQ(lanes_text(0b1101), "0,2-3");
  EXPECT_EQ(lanes_text(UINT64_MAX), "0-63");
  EXPECT_EQ(lanes_text(uint64_t{1} << 63), "63");
}

}  // namespace
}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// What `ebpfctl top` makes of records, and how it looks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "ctl/top_model.h"
#include "tests/unit/ctl_samples.h"

namespace ebpf::ctl {
namespace {

using namespace ebpf::test;

ebpf_record sample_record(uint64_t socket_id, uint8_t msg_type, uint64_t timestamp_us) {
  ebpf_record record{};
  record.kind = EBPF_RECORD_DATA;
  record.data.process_id = 100;
  std::strcpy(reinterpret_cast<char*>(record.data.process_name), "nginx");
  record.data.tuple = {{127, 0, 0, 1}, {127, 0, 0, 1}, 4, 6, 40000, 80};
  record.data.socket_id = socket_id;
  record.data.l7_protocal_hint = SOCK_DATA_HTTP1;
  record.data.msg_type = msg_type;
  record.data.timestamp = timestamp_us;
  record.data.syscall_len = 1000;
  return record;
}

TopView view_of(TopModel& model, TopSort sort = TopSort::kRecords, const std::string& filter = "") {
  return model.take(1, sample_stats(), RingState{}, sort, filter);
}

std::string text_of(const TopView& view, size_t width = 0, size_t height = 0) {
  std::string text;
  for (const TopLine& line : top_lines(view, width, height)) text += line.text + "\n";
  return text;
}

TEST(LatencyHistogram, PercentilesAreWithinSevenPercent) {
  for (const uint64_t scale : {1, 100, 10000, 1000000}) {
    LatencyHistogram histogram;
    for (uint64_t i = 1; i <= 1000; i++) histogram.add(i * scale);
    for (const double percent : {50.0, 99.0}) {
      const double wanted = percent * 10 * static_cast<double>(scale);
      EXPECT_NEAR(static_cast<double>(histogram.percentile_us(percent)), wanted, wanted * 0.07)
          << scale;
    }
  }
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.percentile_us(50), 0u);
  histogram.add(0);
  histogram.add(UINT64_MAX);
  EXPECT_EQ(histogram.percentile_us(50), 0u);
  EXPECT_GT(histogram.percentile_us(99), uint64_t{1} << 40);
}

TEST(TopModel, MatchesEachResponseWithTheOldestRequestOfItsSocket) {
  TopModel model;
  // Two pipelined requests on one socket, one on another in between.
  model.add(sample_record(1, MSG_REQUEST, 1000));
  model.add(sample_record(1, MSG_REQUEST, 1100));
  model.add(sample_record(2, MSG_REQUEST, 1200));
  model.add(sample_record(1, MSG_RESPONSE, 1200));  // 200
  model.add(sample_record(2, MSG_RESPONSE, 1400));  // 200
  model.add(sample_record(1, MSG_UNKNOWN, 1450));   // more of a body
  model.add(sample_record(1, MSG_RESPONSE, 1300));  // 200
  model.add(sample_record(3, MSG_RESPONSE, 9000));  // nobody asked
  const TopView view = view_of(model);
  ASSERT_EQ(view.protocols.size(), 1u);
  EXPECT_STREQ(view.protocols[0].name, "HTTP");
  EXPECT_EQ(view.protocols[0].matched, 3u);
  EXPECT_NEAR(static_cast<double>(view.protocols[0].p50_us), 200, 14);
  EXPECT_NEAR(static_cast<double>(view.protocols[0].p99_us), 200, 14);
  EXPECT_EQ(view.protocols[0].requests_per_s, 3);
  EXPECT_EQ(view.protocols[0].responses_per_s, 4);
  EXPECT_EQ(view.sockets.size(), 3u);
  ASSERT_EQ(view.processes.size(), 1u);
  EXPECT_EQ(view.processes[0].rate.records_per_s, 8);
  EXPECT_EQ(view.processes[0].rate.bytes_per_s, 8000);
}

TEST(TopModel, RatesAreThoseOfTheInterval) {
  TopModel model;
  ebpf_msg_stats stats = sample_stats();
  model.begin(stats);
  model.add(sample_record(1, MSG_REQUEST, 1));
  stats.kern_emitted = stats.user_enqueue_count += 100;
  stats.kern_lost += 10;
  const TopView view = model.take(2, stats, RingState{}, TopSort::kRecords, "");
  EXPECT_EQ(view.stages.published_per_s, 50);
  EXPECT_EQ(view.stages.perf_lost_per_s, 5);
  EXPECT_EQ(view.processes[0].rate.records_per_s, 0.5);
  const TopView idle = model.take(2, stats, RingState{}, TopSort::kRecords, "");
  EXPECT_EQ(idle.stages.published_per_s, 0);
  EXPECT_TRUE(idle.processes.empty());
}

TEST(TopModel, AnotherProducersCountersAreNotNegativeRates) {
  TopModel model;
  ebpf_msg_stats stats = sample_stats();
  model.begin(stats);
  stats.epoch++;
  stats.user_enqueue_count = 5;
  EXPECT_EQ(model.take(1, stats, RingState{}, TopSort::kRecords, "").stages.published_per_s, 0);
}

TEST(TopModel, KeepsNoMoreThanItsBoundsAndForgetsWhatIsIdle) {
  TopModel model;
  for (uint64_t id = 0; id < TopModel::kSocketsMax + 500; id++) {
    model.add(sample_record(id, MSG_REQUEST, 1));
  }
  TopView view = view_of(model);
  EXPECT_EQ(view.sockets.size(), TopModel::kSocketsMax);
  EXPECT_EQ(view.own_not_kept, 500u);
  for (int i = 0; i < 40; i++) view = view_of(model);
  model.add(sample_record(1, MSG_REQUEST, 1));
  model.add(sample_record(TopModel::kSocketsMax + 9, MSG_REQUEST, 1));
  EXPECT_EQ(view_of(model).sockets.size(), 2u);
}

TEST(TopModel, SortsAndFilters) {
  TopModel model;
  ebpf_record busy = sample_record(1, MSG_REQUEST, 1);
  for (int i = 0; i < 5; i++) model.add(busy);
  ebpf_record large = sample_record(2, MSG_REQUEST, 1);
  large.data.process_id = 200;
  std::strcpy(reinterpret_cast<char*>(large.data.process_name), "aria");
  large.data.syscall_len = 1000000;
  const auto first = [&](TopSort sort, const std::string& filter) {
    model.add(busy);
    model.add(busy);
    model.add(large);
    const TopView view = view_of(model, sort, filter);
    return view.processes.empty() ? 0 : view.processes[0].pid;
  };
  EXPECT_EQ(first(TopSort::kRecords, ""), 100u);
  EXPECT_EQ(first(TopSort::kBytes, ""), 200u);
  EXPECT_EQ(first(TopSort::kName, ""), 200u);
  EXPECT_EQ(first(TopSort::kBytes, "ngi"), 100u);
  EXPECT_EQ(first(TopSort::kRecords, "nobody"), 0u);
}

TEST(TopLines, FitIntoAnyScreenAndShareIt) {
  TopModel model;
  for (uint32_t i = 0; i < 50; i++) {
    ebpf_record record = sample_record(i, MSG_REQUEST, 1);
    record.data.process_id = i;
    model.add(record);
  }
  RingState ring{};
  for (uint32_t i = 1; i <= 5; i++) {
    ebpf_consumer_row row{};
    row.id = i;
    ring.consumers.push_back(row);
  }
  const TopView view = model.take(1, sample_stats(), ring, TopSort::kRecords, "");
  for (size_t width : {1, 20, 80, 200}) {
    for (size_t height : {1, 3, 8, 23, 60}) {
      const auto lines = top_lines(view, width, height);
      EXPECT_LE(lines.size(), height);
      for (const TopLine& line : lines) EXPECT_LE(line.text.size(), width);
    }
  }
  const auto lines = top_lines(view, 80, 23);
  EXPECT_EQ(lines.size(), 23u) << "no line is left empty while there is more to show";
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(),
                          [](const TopLine& line) { return line.kind == LineKind::kHeading; }),
            4);
}

TEST(TopLines, NoRawByteOfANameReachesTheTerminal) {
  for (int first = 0; first < 256; first += 15) {
    TopModel model;
    ebpf_record record = sample_record(1, MSG_REQUEST, 1);
    for (int i = 0; i < 15; i++) record.data.process_name[i] = static_cast<uint8_t>(first + i);
    record.data.process_name[15] = 0xff;  // no end
    record.data.tuple.addr_len = static_cast<uint8_t>(first);
    model.add(record);
    const TopView view = view_of(model);
    const std::string text = text_of(view);
    EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return c == '\n' || (c >= 0x20 && c < 0x7f);
    })) << text;
    EXPECT_EQ(nlohmann::json::parse(top_json(view))["schema_version"], kSchemaVersion);
  }
}

TEST(TopLines, SaysThatTheProducerIsGone) {
  TopModel model;
  const TopView view = model.take_gone(1, "no producer at /x");
  EXPECT_EQ(text_of(view), "ebpfctl top - no producer\nno producer at /x\n");
}

}  // namespace
}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// The metrics as text, and the address to serve them at. That a Prometheus server takes them is
// in tests/e2e/metrics_test.py.
#include <gtest/gtest.h>

#include <set>

#include "ctl/metrics.h"
#include "ctl/metrics_server.h"
#include "tests/unit/ctl_samples.h"

namespace {

using namespace ebpf::ctl;
using ebpf::test::sample_stats;
using prometheus::MetricType;

Snapshot sample_snapshot() {
  Snapshot snapshot{sample_stats(), {}, 1700000000000000};
  snapshot.ring.ring.window_us = 2500000;
  snapshot.ring.consumers.resize(2);
  ebpf_consumer_row& row = snapshot.ring.consumers[1];
  row.id = 7;
  row.pid = 4007;
  row.state = EBPF_CONSUMER_LAPPED;
  row.delivered = 70;
  row.lost = 10;
  row.unread = 5;
  row.lag_us = 1500000;
  std::memcpy(row.process, "a\"b\033c", 6);
  return snapshot;
}

TEST(Metrics, ShowTheFiguresOfTheProducer) {
  const std::string text = metrics_text(metrics_of(sample_snapshot(), false));
  for (const char* line :
       {"ebpf_up 1\n", "ebpf_records_total{protocol=\"HTTP\"} 11421\n",
        "ebpf_records_total{protocol=\"DNS\"} 25274\n",
        "ebpf_lane_records_total{lane=\"3\"} 9165\n",
        "ebpf_lane_capacity_records{lane=\"0\"} 16383\n", "ebpf_consumers 2\n",
        "ebpf_map_entries{map=\"trace\"} 7\n", "ebpf_perf_buffer_size_bytes 524288\n",
        "# TYPE ebpf_records_total counter\n", "# HELP ebpf_consumers "}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  EXPECT_NE(text.find("ebpf_producer_start_time_seconds 1699999987.654322"), std::string::npos);
}

TEST(Metrics, AreNamedAsPrometheusAsks) {
  std::set<std::string> names;
  for (const auto& family : metrics_of(sample_snapshot(), true)) {
    const bool total =
        family.name.size() > 6 && family.name.substr(family.name.size() - 6) == "_total";
    EXPECT_EQ(total, family.type == MetricType::Counter) << family.name;
    EXPECT_TRUE(family.name.starts_with("ebpf_")) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_FALSE(family.metric.empty()) << family.name;
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
  }
}

TEST(Metrics, EscapeWhatTheProducerTells) {
  Snapshot snapshot = sample_snapshot();
  ebpf_msg_stats& stats = snapshot.stats;
  std::memset(stats.kernel_release, '"', sizeof stats.kernel_release);  // and no NUL
  std::memcpy(stats.kernel_release, "a\n\xff\x1b[31m", 8);
  stats.lane_count = UINT32_MAX;
  const std::string text = metrics_text(metrics_of(snapshot, true));
  EXPECT_NE(text.find(R"(kernel="a\\x0a\\xff\\x1b[31m\"\")"), std::string::npos) << text;
  for (const char byte : text) EXPECT_TRUE(byte == '\n' || (byte >= 0x20 && byte < 0x7f));
  EXPECT_EQ(text.find("lane=\"64\""), std::string::npos);
}

TEST(Metrics, NameConsumersOnlyWhereAskedTo) {
  const std::string text = metrics_text(metrics_of(sample_snapshot(), false));
  EXPECT_EQ(text.find("consumer=\""), std::string::npos);
  EXPECT_EQ(text.find("pid=\""), std::string::npos);
  EXPECT_NE(text.find("ebpf_consumer_lag_max_seconds 1.5\n"), std::string::npos);
  EXPECT_NE(text.find("ebpf_consumer_states{state=\"lapped\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("ebpf_ring_window_seconds 2.5\n"), std::string::npos);
  const std::string each = metrics_text(metrics_of(sample_snapshot(), true));
  EXPECT_NE(
      each.find(R"(ebpf_consumer_lost_total{consumer="7",pid="4007",process="a\"b\\x1bc"} 10)"),
      std::string::npos)
      << each;
}

TEST(Metrics, SayWhenNobodyAnswers) {
  EXPECT_EQ(metrics_text(metrics_without_producer()),
            "# HELP ebpf_up Whether the producer answers.\n# TYPE ebpf_up gauge\nebpf_up 0\n");
}

TEST(Metrics, AreServedAtAnAddressInNumbersOnly) {
  const struct {
    const char* text;
    const char* address;
  } good[] = {{"9435", "127.0.0.1:9435"},
              {"0", "127.0.0.1:0"},
              {"0.0.0.0:80", "0.0.0.0:80"},
              {"[::1]:9435", "[::1]:9435"},
              {"[::]:65535", "[::]:65535"}};
  for (const auto& each : good) {
    const auto address = parse_listen_address(each.text);
    ASSERT_TRUE(address) << each.text;
    EXPECT_EQ(address->text(), each.address);
  }
  for (const char* bad : {"",
                          "x",
                          ":",
                          ":80",
                          "80s",
                          "80r",
                          "+80",
                          "-1",
                          " 80",
                          "80 ",
                          "65536",
                          "1.2.3.4",
                          "1.2.3:80",
                          "1.2.3.4:",
                          "1.2.3.4:80,81",
                          "1.2.3.4:80s",
                          "localhost:80",
                          "::1:80",
                          "[::1]",
                          "[]:80",
                          "[::1:80",
                          "::1]:80",
                          "[1.2.3.4]:80",
                          "[::1%lo]:80",
                          "1.2.3.4:80\n"}) {
    const auto address = parse_listen_address(bad);
    ASSERT_FALSE(address) << bad;
    EXPECT_NE(address.error().message.find("[IPV6]:PORT"), std::string::npos);
  }
  EXPECT_FALSE(parse_listen_address(std::string("1.2.3.4\0x:80", 12)));
}

}  // namespace

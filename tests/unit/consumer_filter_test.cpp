// SPDX-License-Identifier: Apache-2.0
// The consumer's filter: who gets which records, and that the account stays exact.
#include <poll.h>

#include "consumer/record_filter.h"
#include "libebpf/control.h"
#include "tests/unit/consumer_client.h"

namespace ebpf {
namespace {

class Filtered : public testing::Test {
 protected:
  TempFolder folder_;
  const std::string path_ = folder_ / "producer.sock";
};

RingOptions large_options() {
  RingOptions options;
  options.ring_records = 16384;
  options.cap_bytes = 256;
  return options;
}

std::vector<uint64_t> numbers_that(uint64_t count, bool (*match)(const SK_BPF_DATA&)) {
  std::vector<uint64_t> numbers;
  for (uint64_t seq = 0; seq < count; ++seq) {
    SK_BPF_DATA data{};
    set_fields(data, seq);
    if (match(data)) numbers.push_back(seq);
  }
  return numbers;
}

TEST(FilterConstants, NameTheBitsOfTheRecordsConstants) {
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_UNKNOWN), EBPF_FILTER_UNKNOWN);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_HTTP1), EBPF_FILTER_HTTP1);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_HTTP2), EBPF_FILTER_HTTP2);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_DUBBO), EBPF_FILTER_DUBBO);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_MYSQL), EBPF_FILTER_MYSQL);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_REDIS), EBPF_FILTER_REDIS);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_KAFKA), EBPF_FILTER_KAFKA);
  EXPECT_EQ(1u << ebpf_protocol_index(SOCK_DATA_DNS), EBPF_FILTER_DNS);
  EXPECT_EQ(1u << SOCK_DIR_SND, EBPF_FILTER_SND);
  EXPECT_EQ(1u << SOCK_DIR_RCV, EBPF_FILTER_RCV);
  EXPECT_EQ(1u << MSG_UNKNOWN, EBPF_FILTER_NO_TYPE);
  EXPECT_EQ(1u << MSG_REQUEST, EBPF_FILTER_REQUEST);
  EXPECT_EQ(1u << MSG_RESPONSE, EBPF_FILTER_RESPONSE);
}

const uint32_t kProcesses[] = {1002, 7, 1000};
const uint16_t kPorts[] = {50006, 81, 50000};

struct Case {
  const char* name;
  void (*set)(ebpf_filter&);
  bool (*match)(const SK_BPF_DATA&);
};
const Case kCases[] = {
    {"Nothing", [](ebpf_filter&) {}, [](const SK_BPF_DATA&) { return true; }},
    {"Protocols", [](ebpf_filter& f) { f.protocols = EBPF_FILTER_HTTP1 | EBPF_FILTER_DNS; },
     [](const SK_BPF_DATA& d) {
       return d.l7_protocal_hint == SOCK_DATA_HTTP1 || d.l7_protocal_hint == SOCK_DATA_DNS;
     }},
    {"UnknownProtocol", [](ebpf_filter& f) { f.protocols = EBPF_FILTER_UNKNOWN; },
     [](const SK_BPF_DATA& d) { return d.l7_protocal_hint == SOCK_DATA_UNKNOWN; }},
    {"Direction", [](ebpf_filter& f) { f.directions = EBPF_FILTER_RCV; },
     [](const SK_BPF_DATA& d) { return d.direction == SOCK_DIR_RCV; }},
    {"Requests", [](ebpf_filter& f) { f.msg_types = EBPF_FILTER_REQUEST; },
     [](const SK_BPF_DATA& d) { return d.msg_type == MSG_REQUEST; }},
    {"Processes",
     [](ebpf_filter& f) {
       f.process_ids = kProcesses;
       f.process_count = 3;
     },
     [](const SK_BPF_DATA& d) { return d.process_id != 1001; }},
    {"Ports",
     [](ebpf_filter& f) {
       f.ports = kPorts;
       f.port_count = 3;
     },
     [](const SK_BPF_DATA& d) {
       return d.tuple.rport == 81 || d.tuple.lport == 50000 || d.tuple.lport == 50006;
     }},
    {"AllOfThem",
     [](ebpf_filter& f) {
       f.protocols = EBPF_FILTER_HTTP1 | EBPF_FILTER_MYSQL | EBPF_FILTER_REDIS;
       f.directions = EBPF_FILTER_SND | EBPF_FILTER_RCV;
       f.msg_types = EBPF_FILTER_REQUEST | EBPF_FILTER_RESPONSE;
       f.process_ids = kProcesses;
       f.process_count = 2;
       f.ports = kPorts;
       f.port_count = 2;
     },
     [](const SK_BPF_DATA& d) {
       return (d.l7_protocal_hint == SOCK_DATA_HTTP1 || d.l7_protocal_hint == SOCK_DATA_MYSQL ||
               d.l7_protocal_hint == SOCK_DATA_REDIS) &&
              d.msg_type != MSG_UNKNOWN && d.process_id == 1002 &&
              (d.tuple.rport == 81 || d.tuple.lport == 50006);
     }},
    {"NobodyThere",
     [](ebpf_filter& f) {
       f.process_ids = kProcesses + 1;
       f.process_count = 1;
     },
     [](const SK_BPF_DATA&) { return false; }},
};

TEST_F(Filtered, EachPartLetsThroughExactlyWhatItNames) {
  constexpr uint64_t kRecords = 8 * 3 * 7 * 5;
  TestProducer producer(path_, large_options(), kRecords);
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    ebpf_filter filter = EBPF_FILTER_INIT;
    one.set(filter);
    TestConsumer consumer(path_, 0, EBPF_FROM_OLDEST);
    consumer.options().filter = &filter;
    ASSERT_EQ(consumer.open(), 0) << ebpf_last_error();
    filter = ebpf_filter{};  // it was copied
    while (stats_of(consumer.handle).unread > 0) {
      ASSERT_GE(ebpf_consumer_poll(consumer.handle, 0), 0);
    }
    EXPECT_EQ(consumer.seqs, numbers_that(kRecords, one.match));
    EXPECT_EQ(consumer.torn, 0u);
    const auto stats = stats_of(consumer.handle);
    EXPECT_EQ(stats.published, kRecords);
    EXPECT_EQ(stats.delivered, consumer.seqs.size());
    EXPECT_EQ(stats.filtered, kRecords - consumer.seqs.size());
    EXPECT_EQ(stats.lost, 0u);
  }
}

TEST_F(Filtered, GapNoticesComeThroughAndLossesStayLosses) {
  TestProducer producer(path_);
  ebpf_filter filter = EBPF_FILTER_INIT;
  filter.directions = EBPF_FILTER_RCV;
  TestConsumer consumer(path_);
  consumer.options().filter = &filter;
  ASSERT_EQ(consumer.open(), 0) << ebpf_last_error();
  producer.gap(5);
  producer.write(10);
  consumer.poll_until(5);
  ASSERT_EQ(consumer.gaps.size(), 1u);
  EXPECT_EQ(consumer.gaps[0].gap.cause, EBPF_GAP_PERF_FULL);
  producer.write(5000);
  while (stats_of(consumer.handle).unread > 0) {
    ASSERT_GE(ebpf_consumer_poll(consumer.handle, 0), 0);
  }
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.published, 5010u);
  EXPECT_GT(stats.lost, 4000u);
  EXPECT_EQ(consumer.gaps.back().gap.count, stats.lost);
  EXPECT_EQ(stats.delivered, consumer.seqs.size());
  EXPECT_NEAR(static_cast<double>(stats.filtered), static_cast<double>(stats.delivered), 1);
}

// More records that nobody wants than one look takes: the loop that the header shows must
// neither sleep over the rest nor hang in one call.
TEST_F(Filtered, AnEventLoopReadsThroughWhatNobodyWants) {
  constexpr uint64_t kRecords = 12000;
  TestProducer producer(path_, large_options());
  ebpf_filter filter = EBPF_FILTER_INIT;
  filter.process_ids = kProcesses + 1;
  filter.process_count = 1;
  TestConsumer consumer(path_);
  consumer.options().filter = &filter;
  ASSERT_EQ(consumer.open(), 0) << ebpf_last_error();
  for (uint64_t round = 1; round <= 3; ++round) {
    producer.write(kRecords);
    const uint64_t end = now_us() + kPatienceUs;
    int turns = 0;
    while (stats_of(consumer.handle).unread > 0 && now_us() < end) {
      ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 0), 0) << ebpf_last_error();
      pollfd wait{ebpf_consumer_fd(consumer.handle), POLLIN, 0};
      if (stats_of(consumer.handle).unread > 0) {
        ASSERT_EQ(::poll(&wait, 1, 1000), 1);
      }
      ++turns;
    }
    EXPECT_EQ(stats_of(consumer.handle).filtered, round * kRecords);
    EXPECT_GT(turns, 1);
    // Quiet again: the descriptor says so.
    ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 0), 0);
    pollfd wait{ebpf_consumer_fd(consumer.handle), POLLIN, 0};
    EXPECT_EQ(::poll(&wait, 1, 0), 0);
  }
  const uint64_t began = now_us();
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 50), 0);
  EXPECT_GE(now_us() - began, 50000u);
}

TEST_F(Filtered, SaysWhichPartCannotBeMeant) {
  struct Bad {
    const char* says;
    void (*spoil)(ebpf_filter&);
  };
  const Bad cases[] = {
      {"filter.size is 0", [](ebpf_filter& f) { f.size = 0; }},
      {"filter.size is 47", [](ebpf_filter& f) { f.size = sizeof f - 1; }},
      {"filter.protocols is 256", [](ebpf_filter& f) { f.protocols = 256; }},
      {"filter.directions is 4", [](ebpf_filter& f) { f.directions = 4; }},
      {"filter.msg_types is 8", [](ebpf_filter& f) { f.msg_types = 8; }},
      {"filter.process_ids has 1 entries at NULL", [](ebpf_filter& f) { f.process_count = 1; }},
      {"filter.ports has 65537",
       [](ebpf_filter& f) {
         f.ports = kPorts;
         f.port_count = 65537;
       }},
      {"filter.reserved is not 0", [](ebpf_filter& f) { f.reserved = 1; }},
  };
  for (const Bad& one : cases) {
    ebpf_filter filter = EBPF_FILTER_INIT;
    one.spoil(filter);
    TestConsumer consumer(path_);
    consumer.options().filter = &filter;
    EXPECT_EQ(consumer.open(), -EINVAL) << one.says;
    EXPECT_NE(std::strstr(ebpf_last_error(), one.says), nullptr) << ebpf_last_error();
  }
}

// A program that was built before there were filters: what lies behind its options is not
// read.
TEST_F(Filtered, AnOlderCallersOptionsEndBeforeTheFilter) {
  TestProducer producer(path_, small_options(), 20);
  TestConsumer consumer(path_, 0, EBPF_FROM_OLDEST);
  ebpf_consumer_options& options = consumer.options();
  options.size = offsetof(ebpf_consumer_options, filter);
  options.filter = reinterpret_cast<const ebpf_filter*>(8);
  options.positions = reinterpret_cast<const ebpf_position*>(8);
  options.position_count = 3;
  ASSERT_EQ(consumer.open(), 0) << ebpf_last_error();
  consumer.poll_until(20);
  EXPECT_EQ(consumer.seqs, sequence(0, 20));
}

// The fields are a stranger's bytes.
TEST(RecordFilter, TakesAnyValueForAField) {
  ebpf_filter filter = EBPF_FILTER_INIT;
  filter.directions = EBPF_FILTER_SND | EBPF_FILTER_RCV;
  filter.msg_types = EBPF_FILTER_REQUEST;
  const RecordFilter wanted = must(RecordFilter::create(filter));
  for (uint32_t value = 0; value < 256; ++value) {
    SK_BPF_DATA data{};
    data.direction = static_cast<uint8_t>(value);
    data.msg_type = MSG_REQUEST;
    EXPECT_EQ(wanted.wants(data), value <= 1);
    data.direction = 0;
    data.msg_type = static_cast<uint8_t>(value);
    EXPECT_EQ(wanted.wants(data), value == MSG_REQUEST);
  }
}

}  // namespace
}  // namespace ebpf

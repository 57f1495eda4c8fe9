// SPDX-License-Identifier: Apache-2.0
// Traffic of real servers, recorded once (tests/e2e/record_samples.py), through the native
// inference: the protocol is the server's, its side tells requests from responses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "bpf/infer.h"
#include "libebpf/ring_layout.h"
#include "libebpf/trace_file.h"

namespace {

struct Recorded {
  SK_BPF_DATA data;
  std::string payload;
};

std::vector<Recorded> read_records(const std::string& name) {
  std::ifstream file(std::string(RECORDED_TRAFFIC_DIR) + "/" + name, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << name;
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<Recorded> records;
  size_t at = sizeof(trace_file_header);
  trace_file_frame frame;
  while (at + sizeof frame <= bytes.size()) {
    std::memcpy(&frame, bytes.data() + at, sizeof frame);
    at += sizeof frame;
    ebpf_record record;
    if (frame.body_bytes == sizeof(trace_file_end)) {
      at += frame.body_bytes;
      continue;
    }
    if (frame.body_bytes < sizeof record || at + frame.body_bytes > bytes.size()) break;
    std::memcpy(&record, bytes.data() + at, sizeof record);
    if (record.data.cap_len > frame.body_bytes - sizeof record) break;
    records.push_back({record.data, bytes.substr(at + sizeof record, record.data.cap_len)});
    at += frame.body_bytes;
  }
  EXPECT_EQ(at, bytes.size()) << name << " is damaged";
  return records;
}

uint64_t infer_record(const Recorded& record, infer_state* state) {
  infer_window window = {};
  const size_t count = std::min<size_t>(record.payload.size(), INFER_WINDOW_BYTES);
  std::memcpy(window.bytes, record.payload.data(), count);
  infer_input input = {};
  input.window = &window;
  input.count = count;
  input.total = record.data.syscall_len;
  input.is_tcp = record.data.tuple.protocol == 6;
  input.direction = record.data.direction;
  input.protocols = INFER_ALL_PROTOCOLS;
  return infer(&input, state);
}

struct Sample {
  const char* file;
  uint16_t protocol;
  std::vector<uint16_t> server_ports;
};
void PrintTo(const Sample& sample, std::ostream* out) { *out << sample.file; }

class RecordedTraffic : public testing::TestWithParam<Sample> {};

TEST_P(RecordedTraffic, IsToldForWhatItIs) {
  const Sample& sample = GetParam();
  const auto is_server = [&](uint16_t port) {
    return std::count(sample.server_ports.begin(), sample.server_ports.end(), port) > 0;
  };
  std::map<uint64_t, infer_state> states;
  size_t known = 0, typed = 0;
  const std::vector<Recorded> records = read_records(sample.file);
  ASSERT_GE(records.size(), 60u);
  for (const Recorded& record : records) {
    infer_state& state = states[record.data.socket_id];
    const uint64_t result = infer_record(record, &state);
    const std::string text = record.payload.substr(0, 32);
    EXPECT_TRUE(!result || INFER_PROTOCOL(result) == sample.protocol)
        << INFER_PROTOCOL(result) << ": " << testing::PrintToString(text);
    known += state.protocol == sample.protocol;
    if (INFER_MSG_TYPE(result) == MSG_UNKNOWN) continue;
    const bool at_server = is_server(record.data.tuple.lport);
    const bool to_server = at_server == (record.data.direction == SOCK_DIR_RCV);
    EXPECT_EQ(INFER_MSG_TYPE(result), to_server ? MSG_REQUEST : MSG_RESPONSE)
        << testing::PrintToString(text);
    typed++;
  }
  EXPECT_GE(known * 100, records.size() * 99) << known << " of " << records.size();
  EXPECT_GE(typed * 2, records.size()) << typed << " of " << records.size();
}

INSTANTIATE_TEST_SUITE_P(Servers, RecordedTraffic,
                         testing::Values(Sample{"http1.ebpfrec", SOCK_DATA_HTTP1, {6379}},
                                         Sample{"http2.ebpfrec", SOCK_DATA_HTTP2, {3306}},
                                         Sample{"mysql.ebpfrec", SOCK_DATA_MYSQL, {9092}},
                                         Sample{"redis.ebpfrec", SOCK_DATA_REDIS, {53}},
                                         Sample{"dns.ebpfrec", SOCK_DATA_DNS, {20880}},
                                         Sample{"kafka.ebpfrec", SOCK_DATA_KAFKA, {6381}},
                                         Sample{"dubbo.ebpfrec", SOCK_DATA_DUBBO, {33060}}),
                         [](const auto& each) {
                           const std::string file = each.param.file;
                           return file.substr(0, file.find('.'));
                         });

TEST(RecordedDecoys, AreNeverTakenForOneOfOursForCertain) {
  std::map<uint64_t, infer_state> states;
  const std::vector<Recorded> records = read_records("decoys.ebpfrec");
  ASSERT_GE(records.size(), 60u);
  for (const Recorded& record : records) {
    const uint64_t result = infer_record(record, &states[record.data.socket_id]);
    EXPECT_TRUE(!result || INFER_IS_LIKELY(result))
        << INFER_PROTOCOL(result) << ": " << testing::PrintToString(record.payload.substr(0, 32));
  }
}

}  // namespace

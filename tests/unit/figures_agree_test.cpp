// SPDX-License-Identifier: Apache-2.0
// A whole producer, three consumers of different kinds, and ebpfctl: after a run, the figures
// of all of them tell the same story.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "libebpf/tracer.h"
#include "producer/producer.h"
#include "tests/unit/consumer_client.h"

namespace ebpf {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kRecords = 20000;
constexpr uint64_t kLeft = 200;  // after the slow one has stopped reading

Json ask_ebpfctl(const std::string& socket) {
  const std::string line =
      std::string("'") + EBPFCTL_PATH + "' --socket '" + socket + "' tracer show -o json";
  FILE* pipe = ::popen(line.c_str(), "r");
  std::string output;
  char buffer[4096];
  size_t got;
  while ((got = ::fread(buffer, 1, sizeof buffer, pipe)) > 0) output.append(buffer, got);
  EXPECT_EQ(::pclose(pipe), 0) << output;
  return Json::parse(output, nullptr, false);
}

void record_file(const std::string& path, const LogSink& log) {
  auto recorder = TraceRecorder::create(path, 512, log);
  ASSERT_TRUE(recorder) << recorder.error().message;
  for (uint64_t i = 0; i < kRecords; ++i) {
    std::vector<uint64_t> memory(ebpf_record_bytes(64) / 8);
    auto* record = reinterpret_cast<ebpf_record*>(memory.data());
    record->length_bytes = ebpf_record_bytes(64);
    record->kind = EBPF_RECORD_DATA;
    set_fields(record->data, i);
    record->data.socket_id = i % 37;
    record->data.cap_len = 64;
    record->data.timestamp = 1'000'000 + i;
    (*recorder)->add(*record);
  }
}

// Reads in a thread of its own until everything is told.
class Agent {
 public:
  Agent(const std::string& path, const ebpf_filter* filter, uint32_t pause_us)
      : pause_us_(pause_us) {
    ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
    options.socket_path = path.c_str();
    options.from = EBPF_FROM_OLDEST;
    options.filter = filter;
    options.user = this;
    options.on_record = [](const ebpf_record*, uint32_t lane, void* user) {
      return static_cast<Agent*>(user)->record(lane);
    };
    options.on_gap = [](const ebpf_gap* gap, uint32_t, void* user) {
      static_cast<Agent*>(user)->gaps_told += gap->count;
    };
    EXPECT_EQ(ebpf_consumer_open(&handle_, &options), 0) << ebpf_last_error();
  }
  ~Agent() { close(); }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Until so many are published and `unread` of them are left.
  void start(uint64_t published, uint64_t unread) {
    thread_ = std::thread([=, this] {
      const uint64_t end = now_us() + 20'000'000;
      while (now_us() < end) {
        const auto now = stats();
        if (now.published >= published && now.unread <= unread) return;
        if (ebpf_consumer_poll(handle_, 20) < 0) return;
      }
    });
  }
  void join() { thread_.join(); }
  void close() { ebpf_consumer_close(std::exchange(handle_, nullptr)); }
  struct ebpf_consumer_stats stats() const {
    return stats_of(handle_);
  }

  uint64_t told = 0;
  uint64_t told_by_lane[EBPF_LANES_MAX] = {};
  uint64_t gaps_told = 0;

 private:
  int record(uint32_t lane) {
    ++told;
    ++told_by_lane[lane];
    if (pause_us_ != 0) usleep(pause_us_);
    return pause_us_ != 0;  // it looks at where it stands after each
  }

  uint32_t pause_us_;
  ebpf_consumer* handle_ = nullptr;
  std::thread thread_;
};

// An agent written for the original API, beside the others.
std::atomic<uint64_t> called_back;

void start_original_api(const std::string& socket) {
  ASSERT_EQ(setenv("EBPF_SOCKET", socket.c_str(), 1), 0);
  ASSERT_EQ(bpf_tracer_init(nullptr, false), 0);
  ASSERT_EQ(
      running_socket_tracer([](SK_BPF_DATA*) { ++called_back; }, 1, 128, 1024, 4096, 4096, 4000),
      0);
  ASSERT_EQ(tracer_start(), 0);
}

SK_TRACE_STATS original_api_done() {
  const uint64_t end = now_us() + 20'000'000;
  for (;;) {
    const SK_TRACE_STATS stats = socket_tracer_stats();
    if (stats.user_dequeue_count + stats.user_enqueue_lost >= kRecords) return stats;
    if (now_us() > end) return stats;
    usleep(10'000);
  }
}

void expect_same(const SK_TRACE_STATS& stats, const Json& json) {
  EXPECT_EQ(stats.user_dequeue_count, called_back.load());
  EXPECT_EQ(stats.user_enqueue_count, kRecords);
  EXPECT_EQ(stats.user_dequeue_count + stats.user_enqueue_lost, kRecords);
  EXPECT_EQ(stats.worker_num, 1);
  EXPECT_EQ(stats.tracer_state, TRACER_RUNNING);
  EXPECT_EQ(stats.perf_pages_count, json["perf_pages_count"]);
  EXPECT_EQ(stats.kern_lost, json["kern_lost"]);
  EXPECT_EQ(stats.kern_socket_map_max, json["kern_socket_map_max"]);
  EXPECT_EQ(stats.kern_socket_map_used, json["kern_socket_map_used"]);
  EXPECT_EQ(stats.kern_trace_map_max, json["kern_trace_map_max"]);
  EXPECT_EQ(stats.kern_trace_map_used, json["kern_trace_map_used"]);
  EXPECT_EQ(stats.socket_map_max_reclaim, json["socket_map_max_reclaim"]);
  EXPECT_EQ(stats.queue_capacity, json["lanes"][0]["capacity"]);
  EXPECT_EQ(stats.queue_burst_count, json["queue_burst_count"]);
  EXPECT_EQ(stats.mem_alloc_fail_count, json["mem_alloc_fail_count"]);
}

TEST(Figures, OfProducerConsumersAndEbpfctlAgree) {
  TempFolder folder;
  const LogSink log = [](LogLevel, const std::string&) {};
  const std::string file = folder / "trace";
  record_file(file, log);

  ProducerOptions options;
  options.socket_path = folder / "producer.sock";
  options.ring.lane_count = 2;
  options.ring.ring_records = 1024;
  options.replay.path = file;
  options.replay.speed = 0;
  options.replay.wait_consumers = 4;
  options.replay.linger_s = 60;
  StartError why{};
  auto producer = Producer::create(options, log, &why);
  ASSERT_NE(producer, nullptr) << why.error.message;
  const UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  std::thread control([&] { producer->run(stop.get()); });

  ASSERT_NO_FATAL_FAILURE(start_original_api(options.socket_path));
  ebpf_filter requests = EBPF_FILTER_INIT;
  requests.msg_types = EBPF_FILTER_REQUEST;
  Agent normal(options.socket_path, nullptr, 0);
  Agent filtering(options.socket_path, &requests, 0);
  Agent slow(options.socket_path, nullptr, 200);
  normal.start(kRecords, 0);
  filtering.start(kRecords, 0);
  slow.start(kRecords, kLeft);
  normal.join();
  filtering.join();
  slow.join();

  // Each consumer with itself, and with what its callbacks were told.
  for (const Agent* agent : {&normal, &filtering, &slow}) {
    const auto stats = agent->stats();
    EXPECT_EQ(stats.published, kRecords);
    EXPECT_EQ(stats.delivered, agent->told);
    EXPECT_EQ(stats.lost, agent->gaps_told);
    EXPECT_EQ(stats.delivered + stats.filtered + stats.lost + stats.unread, kRecords);
  }
  EXPECT_GT(filtering.stats().filtered, 0u);
  EXPECT_GT(slow.stats().lost, 0u);
  EXPECT_GT(slow.stats().unread, 0u);

  // The producer with them, and the original API with the producer.
  const SK_TRACE_STATS original = original_api_done();
  const Json json = ask_ebpfctl(options.socket_path);
  ASSERT_TRUE(json.is_object());
  const auto n = [&json](const char* name) { return json[name].get<uint64_t>(); };
  EXPECT_EQ(n("replayed"), kRecords);
  EXPECT_EQ(n("user_enqueue_count"), kRecords);
  EXPECT_EQ(n("user_dequeue_count"), kRecords) << "the normal one has passed them all";
  EXPECT_EQ(n("user_enqueue_lost"), 0u);
  EXPECT_EQ(n("events_lost"), 0u);
  EXPECT_EQ(n("consumer_count"), 4u);
  EXPECT_EQ(n("undelivered"), 0u);
  EXPECT_EQ(n("epoch"), normal.stats().epoch);
  expect_same(original, json);
  EXPECT_EQ(tracer_stop(), 0);
  uint64_t by_lane = 0;
  for (const Json& lane : json["lanes"]) {
    by_lane += lane["enqueued"].get<uint64_t>();
    EXPECT_EQ(lane["enqueued"], lane["dequeued"]);
    if (normal.stats().lost == 0) {
      EXPECT_EQ(lane["enqueued"].get<uint64_t>(), normal.told_by_lane[lane["lane"].get<size_t>()]);
    }
  }
  EXPECT_EQ(by_lane, kRecords);
  uint64_t by_protocol = 0;
  for (const Json& count : json["protocols"]) by_protocol += count.get<uint64_t>();
  EXPECT_EQ(by_protocol, kRecords);

  // What the slow one leaves unread becomes the producer's "undelivered", to the record.
  const uint64_t left = slow.stats().unread;
  slow.close();
  normal.close();
  EXPECT_TRUE([&] {
    for (int i = 0; i < 300; ++i) {
      if (ask_ebpfctl(options.socket_path)["consumer_count"] == 1) return true;
      usleep(10'000);
    }
    return false;
  }());
  EXPECT_EQ(ask_ebpfctl(options.socket_path)["undelivered"].get<uint64_t>(), left);
  filtering.close();
  const uint64_t one = 1;
  EXPECT_EQ(write(stop.get(), &one, sizeof one), ssize_t{sizeof one});
  control.join();
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// What ebpfctl prints, byte for byte.
#include "ctl/format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/ctl_samples.h"

namespace ebpf::ctl {
namespace {

using test::sample_offsets;
using test::sample_stats;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool printable(const std::string& text) {
  for (const char c : text) {
    if (c != '\n' && c != '\t' && (c < 0x20 || c == 0x7f)) return false;
  }
  return true;
}

TEST(CtlFormat, TracerShowIsTheOriginalsText) {
  EXPECT_EQ(tracer_text(sample_stats(), {}),
            "Tracer         socket-tracer\n"
            "Bpf File       /usr/share/socket_trace.elf\n"
            "Workers        4\n"
            "Events Lost    0\n"
            "\n"
            "-------------------- Queue ---------------------------\n"
            "worker 0 for queue, de 9095 en 9095 lost 0 alloc faild 0 burst 4 queue size 0 cap "
            "16383\n"
            "worker 1 for queue, de 9254 en 9254 lost 0 alloc faild 0 burst 3 queue size 0 cap "
            "16383\n"
            "worker 2 for queue, de 9291 en 9291 lost 0 alloc faild 0 burst 4 queue size 0 cap "
            "16383\n"
            "worker 3 for queue, de 9165 en 9165 lost 0 alloc faild 0 burst 0 queue size 0 cap "
            "16383\n"
            "\n"
            "SUM dequeue 36805 enqueue 36805, lost 0, alloc faild 0 burst count 11\n"
            "\n"
            "-------------------- Protocol ------------------------\n"
            "- HTTP       11421\n"
            "- DNS        25274\n"
            "- Redis      110\n");
}

TEST(CtlFormat, SocktraceShowIsTheOriginalsText) {
  const std::string offsets =
      "task__files_offset: \t0xb00\n"
      "sock__flags_offset: \t0x1f0\n"
      "socket__has_wq_ptr: \t0x0(no use)\n"
      "tcp_sock__copied_seq_offset: \t0x514\n"
      "tcp_sock__write_seq_offset: \t0x674\n";
  EXPECT_EQ(socktrace_text(sample_stats(), sample_offsets(), {}),
            "Linux Version: 4.15.15-1.el7.x86_64\n"
            "\n"
            "kern_socket_map_max:\t524288\n"
            "kern_socket_map_used:\t6\n"
            "kern_trace_map_max:\t524288\n"
            "kern_trace_map_used:\t7\n"
            "\n"
            "CPUs: 2\n"
            "----------------------------------\n"
            "cpu: \t0\n"
            "ready: \t1\n" +
                offsets +
                "----------------------------------\n"
                "cpu: \t1\n"
                "ready: \t1\n" +
                offsets);
}

TEST(CtlFormat, EveryProtocolThatOccurredHasItsLine) {
  ebpf_msg_stats stats = sample_stats();
  for (uint32_t i = 0; i < EBPF_PROTOCOL_COUNT; i++) stats.protocol[i] = i + 1;
  EXPECT_TRUE(contains(tracer_text(stats, {}),
                       "- HTTP       2\n- HTTP2      3\n- MySQL      5\n- DNS        8\n"
                       "- Redis      6\n- Kafka      7\n- Dubbo      4\n- Unknown    1\n"));
}

TEST(CtlFormat, EventsLostCountsKernelAndRing) {
  ebpf_msg_stats stats = sample_stats();
  stats.kern_lost = 40;
  stats.user_enqueue_lost = 2;
  EXPECT_TRUE(contains(tracer_text(stats, {}), "Events Lost    42\n"));
}

TEST(CtlFormat, QueueSizeIsUnreadButNeverBelowZeroNorAboveCapacity) {
  ebpf_msg_stats stats = sample_stats();
  stats.lanes[0] = {100, 60, 0, 0, 0, 64};
  stats.lanes[1] = {100, 101, 0, 0, 0, 64};
  stats.lanes[2] = {1000, 0, 0, 0, 0, 64};
  const std::string text = tracer_text(stats, {});
  EXPECT_TRUE(contains(text, "de 60 en 100 lost 0 alloc faild 0 burst 0 queue size 40 cap 64"));
  EXPECT_TRUE(contains(text, "de 101 en 100 lost 0 alloc faild 0 burst 0 queue size 0 cap 64"));
  EXPECT_TRUE(contains(text, "de 0 en 1000 lost 0 alloc faild 0 burst 0 queue size 64 cap 64"));
}

TEST(CtlFormat, VerboseAddsOursBelowAndChangesNothingAbove) {
  ebpf_msg_stats stats = sample_stats();
  stats.kern_lost = 1;
  stats.kern_socket_map_full = 2;
  stats.kern_trace_map_full = 3;
  stats.user_enqueue_lost = 4;
  const std::string plain = tracer_text(stats, {});
  const std::string verbose = tracer_text(stats, {.verbose = true});
  EXPECT_EQ(verbose.substr(0, plain.size()), plain);
  for (const char* line :
       {"State                   running\n", "Epoch                   1700000000000001\n",
        "Uptime                  12.345 s\n", "Attached by             raw\n",
        "Events through          ringbuf\n", "Offsets from            btf\n",
        "Consumers               2 of 16\n", "Perf buffer full        1\n",
        "Socket map full         2\n", "Trace map full          3\n",
        "No room in the ring     4\n"}) {
    EXPECT_TRUE(contains(verbose, line)) << line;
    EXPECT_FALSE(contains(plain, line)) << line;
  }
}

TEST(CtlFormat, VerboseSocktraceListsTheWholeTable) {
  const std::string verbose = socktrace_text(sample_stats(), sample_offsets(), {.verbose = true});
  EXPECT_TRUE(contains(verbose, "sock.sk_flags                            0x60     btf\n"));
}

TEST(CtlFormat, ColorOnlyWhenAskedFor) {
  EXPECT_TRUE(printable(tracer_text(sample_stats(), {.verbose = true})));
  EXPECT_TRUE(contains(tracer_text(sample_stats(), {.color = true}), "\033[1m"));
}

TEST(CtlFormat, HostileStringsNeverReachTheTerminalRaw) {
  ebpf_msg_stats stats = sample_stats();
  std::memcpy(stats.bpf_file, "a\033]0;pwned\007\\\nb\377\0", 16);
  std::memset(stats.kernel_release, '\033', sizeof(stats.kernel_release));  // no NUL at all
  ebpf_msg_offsets offsets = sample_offsets();
  std::memset(offsets.entries[0].name, '\r', sizeof(offsets.entries[0].name));

  const std::string tracer = tracer_text(stats, {.verbose = true});
  const std::string socktrace = socktrace_text(stats, offsets, {.verbose = true});
  EXPECT_TRUE(printable(tracer));
  EXPECT_TRUE(printable(socktrace));
  EXPECT_TRUE(contains(tracer, "Bpf File       a\\x1b]0;pwned\\x07\\\\\\x0ab\\xff\n"));
}

TEST(CtlFormat, JsonIsValidWhateverTheStringsHold) {
  ebpf_msg_stats stats = sample_stats();
  std::memset(stats.bpf_file, '\377', sizeof(stats.bpf_file));
  const auto json = nlohmann::json::parse(tracer_json(stats));
  EXPECT_EQ(json["schema_version"], 1);
}

TEST(CtlFormat, JsonHasExactNumbers) {
  ebpf_msg_stats stats = sample_stats();
  stats.kern_emitted = UINT64_MAX;
  const auto json = nlohmann::json::parse(tracer_json(stats));
  EXPECT_EQ(json["kern_emitted"].get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(json["lanes"].size(), 4u);
  EXPECT_EQ(json["lanes"][1]["enqueued"], 9254);
  EXPECT_EQ(json["protocols"]["DNS"], 25274);
  EXPECT_EQ(json["tracer_state"], "running");
}

TEST(CtlFormat, SocktraceJsonTellsEveryOffset) {
  const auto json = nlohmann::json::parse(socktrace_json(sample_stats(), sample_offsets()));
  ASSERT_EQ(json["offsets"].size(), 5u);
  EXPECT_EQ(json["offsets"][0]["name"], "task_struct.files");
  EXPECT_EQ(json["offsets"][0]["offset"], 0xb00);
  EXPECT_EQ(json["offsets"][0]["source"], "btf");
  EXPECT_EQ(json["ready"], true);
}

TEST(CtlFormat, NotReadyWithoutATable) {
  ebpf_msg_offsets offsets{};
  offsets.cpu_count = 1;
  EXPECT_TRUE(contains(socktrace_text(sample_stats(), offsets, {}),
                       "ready: \t0\ntask__files_offset: \t0x0\n"));
}

}  // namespace
}  // namespace ebpf::ctl

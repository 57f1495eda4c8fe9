// SPDX-License-Identifier: Apache-2.0
// A consumer through the C ABI that checks every record, and keeps what it was told.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <functional>
#include <string>
#include <vector>

#include "libebpf/consumer.h"
#include "tests/unit/consumer_producer.h"

namespace ebpf {

inline struct ebpf_consumer_stats stats_of(const ebpf_consumer* consumer) {
  struct ebpf_consumer_stats stats {};
  stats.size = sizeof stats;
  EXPECT_EQ(ebpf_consumer_stats(consumer, &stats), 0);
  EXPECT_EQ(stats.published, stats.delivered + stats.filtered + stats.lost + stats.unread);
  return stats;
}

class TestConsumer {
 public:
  explicit TestConsumer(const std::string& path, uint32_t flags = 0, uint32_t from = EBPF_FROM_TAIL)
      : path_(path) {
    options_.socket_path = path_.c_str();
    options_.flags = flags;
    options_.from = from;
    options_.on_record = [](const ebpf_record* record, uint32_t lane, void* user) {
      return static_cast<TestConsumer*>(user)->record(*record, lane);
    };
    options_.on_gap = [](const ebpf_gap* gap, uint32_t lane, void* user) {
      auto* self = static_cast<TestConsumer*>(user);
      EXPECT_LT(lane, 64u);
      self->gaps.push_back({*gap, self->seqs.size()});
    };
    options_.user = this;
  }
  ~TestConsumer() { ebpf_consumer_close(handle); }
  TestConsumer(const TestConsumer&) = delete;
  TestConsumer& operator=(const TestConsumer&) = delete;

  int open() { return ebpf_consumer_open(&handle, &options_); }
  ebpf_consumer_options& options() { return options_; }

  // Polls until so many records came in all.
  void poll_until(size_t records, int timeout_ms = 100) {
    const uint64_t end = now_us() + kPatienceUs;
    while (seqs.size() < records && now_us() < end) {
      ASSERT_GE(ebpf_consumer_poll(handle, timeout_ms), 0) << ebpf_last_error();
    }
    ASSERT_EQ(seqs.size(), records);
  }
  void poll_until_gaps(size_t count) {
    const uint64_t end = now_us() + kPatienceUs;
    while (gaps.size() < count && now_us() < end) {
      ASSERT_GE(ebpf_consumer_poll(handle, 20), 0) << ebpf_last_error();
    }
    ASSERT_EQ(gaps.size(), count);
  }

  struct Told {
    ebpf_gap gap;
    size_t after_records;
  };
  ebpf_consumer* handle = nullptr;
  std::vector<uint64_t> seqs;
  std::vector<Told> gaps;
  uint64_t torn = 0;
  std::function<int()> during;

 private:
  int record(const ebpf_record& record, uint32_t lane) {
    if (!record_is_intact(record, lane)) ++torn;
    seqs.push_back(record.seq);
    return during ? during() : 0;
  }

  std::string path_;
  ebpf_consumer_options options_ = EBPF_CONSUMER_OPTIONS_INIT;
};

// The consumer's end of the control connection, found among our descriptors.
inline int control_socket() {
  for (int fd = 3; fd < 256; ++fd) {
    sockaddr_un peer{};
    socklen_t length = sizeof peer;
    int type = 0;
    socklen_t type_length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) != 0) continue;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (type == SOCK_SEQPACKET && std::strstr(peer.sun_path, "producer.sock") != nullptr) return fd;
  }
  return -1;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// What the consumer's tests share: a ring with a real writer, records whose every byte
// follows from their sequence number, and a sink that checks them.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "consumer/ring_reader.h"
#include "producer/consumer_slots.h"
#include "producer/ring_writer.h"

namespace ebpf {

inline uint8_t pattern_byte(uint64_t seq, uint32_t lane, uint32_t at) {
  return static_cast<uint8_t>(seq * 31 + lane * 7 + at);
}

// What a filter looks at, so that every number gives another mixture.
inline void set_fields(SK_BPF_DATA& data, uint64_t seq) {
  static constexpr uint16_t kProtocols[] = {SOCK_DATA_UNKNOWN, SOCK_DATA_HTTP1, SOCK_DATA_HTTP2,
                                            SOCK_DATA_DUBBO,   SOCK_DATA_MYSQL, SOCK_DATA_REDIS,
                                            SOCK_DATA_KAFKA,   SOCK_DATA_DNS};
  data.process_id = static_cast<uint32_t>(1000 + seq % 3);
  data.l7_protocal_hint = kProtocols[seq % 8];
  data.msg_type = static_cast<uint8_t>(seq % 3);
  data.direction = static_cast<uint8_t>(seq % 2);
  data.tuple.rport = static_cast<uint16_t>(80 + seq % 4);
  data.tuple.lport = static_cast<uint16_t>(50000 + seq % 7);
}

// Appends a record that record_is_intact() accepts; not yet published.
inline void append_record(RingWriter& writer, uint32_t lane, uint32_t cap_len) {
  ebpf_record* record = writer.reserve(lane, cap_len);
  ASSERT_NE(record, nullptr);
  record->data = SK_BPF_DATA{};
  record->data.socket_id = record->seq * 3 + lane;
  set_fields(record->data, record->seq);
  record->data.cap_seq = record->seq;
  record->data.cap_len = cap_len;
  auto* payload = reinterpret_cast<uint8_t*>(record + 1);
  for (uint32_t i = 0; i < cap_len; ++i) payload[i] = pattern_byte(record->seq, lane, i);
  writer.commit(lane);
}

inline bool record_is_intact(const ebpf_record& record, uint32_t lane) {
  if (record.data.cap_seq != record.seq || record.data.socket_id != record.seq * 3 + lane) {
    return false;
  }
  const uint8_t* payload = ebpf_record_payload(&record);
  for (uint32_t i = 0; i < record.data.cap_len; ++i) {
    if (payload[i] != pattern_byte(record.seq, lane, i)) return false;
  }
  return true;
}

inline RingOptions small_options(uint32_t lane_count = 1) {
  RingOptions options;
  options.lane_count = lane_count;
  options.ring_records = 64 * lane_count;
  options.cap_bytes = 256;
  options.segment_bytes = 4096;
  options.max_consumers = 8;
  return options;
}

// A ring with its writer and slots, in this process.
class TestRing {
 public:
  explicit TestRing(const RingOptions& options = small_options())
      : slots(options.max_consumers, options.lane_count, options.epoch) {
    auto created = RingWriter::create(options, slots);
    if (created) writer = std::move(*created);
    EXPECT_TRUE(created.has_value()) << created.error().message;
  }

  void write(uint32_t lane, uint64_t count, uint64_t burst = 16) {
    const uint32_t cap_bytes = writer->header().cap_bytes;
    for (uint64_t i = 0; i < count; ++i) {
      append_record(*writer, lane, static_cast<uint32_t>(written_++ * 97 % (cap_bytes + 1)));
      if (i % burst == burst - 1) writer->publish(lane);
    }
    writer->publish(lane);
  }

  // The writer's own mapping: what ThreadSanitizer can follow.
  const void* base() const { return &writer->header(); }
  size_t bytes() const { return writer->header().total_bytes; }
  RingView view() const {
    auto created = RingView::create(base(), bytes());
    EXPECT_TRUE(created.has_value()) << created.error().message;
    return *created;
  }

  ConsumerSlots slots;
  std::unique_ptr<RingWriter> writer;

 private:
  uint64_t written_ = 0;
};

// A control page with a slot of the ring. Addressed through the producer's own mapping of
// it, so that both sides are on one, as ThreadSanitizer needs it.
class TestSlot {
 public:
  explicit TestSlot(TestRing& ring) : ring_(ring) {
    int pair[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ours_ = UniqueFd(pair[0]);
    auto attached = ring.slots.attach(pair[1], ConsumerInfo{});
    ::close(pair[1]);
    EXPECT_TRUE(attached.has_value()) << attached.error().message;
    id_ = attached->id;
    page_ = find_mapping(attached->control_fd.get());
    EXPECT_NE(page_, nullptr);
  }
  ~TestSlot() { detach(); }

  void detach() {
    if (id_ == 0) return;
    std::vector<uint64_t> published(ring_.writer->header().lane_count);
    for (uint32_t lane = 0; lane < published.size(); ++lane) {
      published[lane] = ring_.writer->initial_seq() + ring_.writer->published(lane);
    }
    ring_.slots.detach(id_, published.data(), ring_.writer->initial_seq());
    id_ = 0;
  }
  ebpf_control_page* page() const { return page_; }

 private:
  static ebpf_control_page* find_mapping(int fd) {
    struct stat status {};
    EXPECT_EQ(fstat(fd, &status), 0);
    std::unique_ptr<FILE, int (*)(FILE*)> maps(fopen("/proc/self/maps", "re"), fclose);
    char line[512];
    while (fgets(line, sizeof line, maps.get()) != nullptr) {
      uintptr_t start;
      unsigned long inode;
      if (sscanf(line, "%" SCNxPTR "-%*x %*s %*x %*s %lu", &start, &inode) == 2 &&
          inode == status.st_ino) {
        return reinterpret_cast<ebpf_control_page*>(start);
      }
    }
    return nullptr;
  }

  TestRing& ring_;
  UniqueFd ours_;
  uint32_t id_ = 0;
  ebpf_control_page* page_ = nullptr;
};

// Collects what a reader delivers, and checks each record as it comes.
class Collector {
 public:
  struct Told {
    ebpf_gap gap;
    uint32_t lane;
    uint64_t after_records;  // how many records had been delivered when it came
  };

  Collector() {
    sink.on_record = [](const ebpf_record* record, uint32_t lane, void* user) {
      return static_cast<Collector*>(user)->record(*record, lane);
    };
    sink.on_gap = [](const ebpf_gap* gap, uint32_t lane, void* user) {
      auto* self = static_cast<Collector*>(user);
      self->gaps.push_back({*gap, lane, self->count});
    };
    sink.user = this;
  }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  uint64_t lost(uint32_t cause) const {
    uint64_t sum = 0;
    for (const Told& told : gaps) {
      if (told.gap.cause == cause) sum += told.gap.count;
    }
    return sum;
  }

  Sink sink;
  uint64_t count = 0;
  uint64_t torn = 0;
  uint64_t stop_after = 0;         // 0: never
  std::vector<uint64_t> seqs[64];  // by lane; only while keep_seqs
  bool keep_seqs = true;
  std::function<void(const ebpf_record&, uint32_t)> during;

 private:
  int record(const ebpf_record& record, uint32_t lane) {
    ++count;
    if (during) during(record, lane);
    if (!record_is_intact(record, lane)) ++torn;
    if (keep_seqs) seqs[lane].push_back(record.seq);
    return count == stop_after;
  }

 public:
  std::vector<Told> gaps;
};

// Reads until nothing is left.
inline void read_all(RingReader& reader, Collector& collector) {
  do {
    reader.read(4096, collector.sink);
  } while (!reader.dry() && !collector.sink.stop);
}

// The value, or a failed test.
template <class T>
T must(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << result.error().message;
  return std::move(*result);
}

inline std::unique_ptr<RingReader> make_reader(TestRing& ring, TestSlot& slot, Join join,
                                               uint64_t lanes = ~0ull) {
  return must(RingReader::create(ring.view(), slot.page(), lanes, join));
}

inline std::vector<uint64_t> sequence(uint64_t from, uint64_t count) {
  std::vector<uint64_t> numbers(count);
  for (uint64_t i = 0; i < count; ++i) numbers[i] = from + i;
  return numbers;
}

}  // namespace ebpf

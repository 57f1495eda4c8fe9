// SPDX-License-Identifier: Apache-2.0
// A fixed amount of the work that is done for each record, for instruction_guard.py to count:
//   fixed_work append|take|drain_perf|drain_ring RECORDS
//   fixed_work infer RECORDS TRACE_FILE
// One thread and no kernel, so that two runs do the same. What is counted happens inside the
// functions whose names begin with measured_.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "consumer/ring_reader.h"
#include "consumer/ring_view.h"
#include "fixed_inference.h"
#include "producer/consumer_slots.h"
#include "producer/cpu_buffer.h"
#include "producer/publisher.h"
#include "producer/ring_writer.h"

namespace ebpf::bench {
namespace {

constexpr uint32_t kPayload = 512;
constexpr uint32_t kBurst = 16;
constexpr size_t kPage = 4096;
constexpr uint32_t kSamples = 64;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "fixed_work: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

// A ring, and a record for it.
struct Bench {
  Bench() : slots(RingOptions{}.max_consumers, 1, 1), payload(kPayload, 'x') {
    RingOptions options;
    options.ring_records = 4096;
    options.epoch = 1;
    writer = must(RingWriter::create(options, slots));
    data.cap_len = kPayload;
    data.syscall_len = kPayload;
    data.socket_id = 7;
  }

  SK_BPF_DATA data{};
  ConsumerSlots slots;
  std::unique_ptr<RingWriter> writer;
  std::vector<uint8_t> payload;
};

// The mapped pages of a perf buffer that the kernel has filled with samples.
class PerfPages {
 public:
  explicit PerfPages(const Bench& bench) : memory_((kPage + kDataBytes) / sizeof(uint64_t)) {
    perf_event_header header{PERF_RECORD_SAMPLE, 0, 0};
    const uint32_t raw = static_cast<uint32_t>(sizeof(uint32_t) + sizeof(SK_BPF_DATA)) + kPayload;
    const uint32_t padded = raw + (8 - (raw + sizeof(raw)) % 8) % 8;
    header.size = static_cast<uint16_t>(sizeof(header) + sizeof(padded) + padded);
    const uint32_t lost = 0;
    for (uint32_t i = 0; i < kSamples; ++i) {
      const uint64_t end = used_ + header.size;
      put(&header, sizeof header);
      put(&padded, sizeof padded);
      put(&lost, sizeof lost);
      put(&bench.data, sizeof bench.data);
      put(bench.payload.data(), kPayload);
      used_ = end;
    }
  }
  // All samples are there, again.
  CpuBuffer refill() {
    meta()->data_tail = 0;
    meta()->data_head = used_;
    return CpuBuffer(PerfCpu(0, meta(), kPage, kDataBytes));
  }

 private:
  static constexpr size_t kDataBytes = 64 * 1024;
  perf_event_mmap_page* meta() { return reinterpret_cast<perf_event_mmap_page*>(memory_.data()); }
  void put(const void* bytes, size_t count) {
    std::memcpy(reinterpret_cast<uint8_t*>(memory_.data()) + kPage + used_, bytes, count);
    used_ += count;
  }

  std::vector<uint64_t> memory_;
  uint64_t used_ = 0;
};

// The same in a BPF ring buffer.
class RingPages {
 public:
  explicit RingPages(const Bench& bench) : memory_(2 * kDataBytes / sizeof(uint64_t)) {
    const uint32_t lost = 0;
    const uint32_t size = static_cast<uint32_t>(sizeof lost + sizeof bench.data) + kPayload;
    const uint32_t header[2] = {size, 0};
    for (uint32_t i = 0; i < kSamples; ++i) {
      const uint64_t end = written_ + (sizeof header + size + 7) / 8 * 8;
      put(header, sizeof header);
      put(&lost, sizeof lost);
      put(&bench.data, sizeof bench.data);
      put(bench.payload.data(), kPayload);
      written_ = end;
    }
  }
  CpuBuffer refill() {
    read_ = 0;
    return CpuBuffer(RingCpu(0, &read_, &written_, bytes(), kDataBytes));
  }

 private:
  static constexpr size_t kDataBytes = 64 * 1024;
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(memory_.data()); }
  void put(const void* from, size_t count) {
    std::memcpy(bytes() + written_, from, count);
    written_ += count;
  }

  std::vector<uint64_t> memory_;
  uint64_t read_ = 0;
  uint64_t written_ = 0;
};

}  // namespace

[[gnu::noinline]] void measured_append(Bench& bench, uint32_t records) {
  for (uint32_t i = 1; i <= records; ++i) {
    bench.writer->append(0, bench.data, bench.payload.data());
    if (i % kBurst != 0) continue;
    bench.writer->publish(0);
    if (i % (4 * kBurst) != 0) continue;
    bench.slots.wake_sleepers(i);
    bench.slots.quiet_point();
  }
}

[[gnu::noinline]] void measured_take(RingReader& reader, Sink& sink) {
  while (reader.read(kBurst, sink) > 0) {
  }
}

// As Drain does it with one CPU's buffer.
[[gnu::noinline]] void measured_drain(CpuBuffer& cpu, Publisher& publisher) {
  EventView event;
  cpu.snapshot();
  for (; cpu.peek(&event); cpu.pop()) {
    SK_BPF_DATA data;
    event.copy(&data, sizeof(uint32_t), sizeof data);
    const uint8_t* payload = event.in_place(sizeof(uint32_t) + sizeof data, data.cap_len);
    if (payload == nullptr || !publisher.add(data, payload)) give_up("an event is cut in two");
  }
  cpu.release();
  publisher.flush(1);
}

namespace {

void append(Bench& bench, uint32_t records) { measured_append(bench, records); }

void take(Bench& bench, uint32_t records) {
  const auto view =
      must(RingView::create(&bench.writer->header(), bench.writer->header().total_bytes));
  // Nobody laps this reader, so its pins need not be seen.
  const auto page = std::make_unique<ebpf_control_page>();
  const auto reader = must(RingReader::create(view, page.get(), 1, Join::kTail));
  uint64_t seen = 0;
  Sink sink;
  sink.user = &seen;
  sink.on_record = [](const ebpf_record*, uint32_t, void* user) {
    ++*static_cast<uint64_t*>(user);
    return 0;
  };
  for (uint32_t written = 0; written < records; written += 4 * kBurst) {
    measured_append(bench, 4 * kBurst);
    measured_take(*reader, sink);
  }
  if (seen != records) give_up("records are missing");
}

template <class Pages>
void drain(Bench& bench, uint32_t records) {
  Publisher publisher(*bench.writer, bench.slots, nullptr);
  Pages pages(bench);
  for (uint32_t taken = 0; taken < records; taken += kSamples) {
    CpuBuffer cpu = pages.refill();
    measured_drain(cpu, publisher);
  }
  if (bench.writer->published(0) != records) give_up("events are missing");
}

int run(const std::string& what, uint32_t records, const char* file) {
  Bench bench;
  if (records == 0 || records % kSamples != 0) give_up("RECORDS must be a multiple of 64");
  if (what == "append") {
    append(bench, records);
  } else if (what == "take") {
    take(bench, records);
  } else if (what == "drain_perf") {
    drain<PerfPages>(bench, records);
  } else if (what == "drain_ring") {
    drain<RingPages>(bench, records);
  } else if (what == "infer") {
    if (const std::string why = infer_recorded(file, records); !why.empty()) give_up(why);
  } else {
    give_up("no such work: " + what);
  }
  return 0;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) {
  if (argc < 3) ebpf::bench::give_up("usage: fixed_work WORK RECORDS [TRACE_FILE]");
  const auto records = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
  return ebpf::bench::run(argv[1], records, argc > 3 ? argv[3] : "");
}

// SPDX-License-Identifier: Apache-2.0
// Our ring, whole: writer, consumer slots and control server in the producer's process, the
// C ABI of the shared library in the consumers'.
#include <atomic>
#include <thread>

#include "libebpf/consumer.h"
#include "producer/consumer_slots.h"
#include "producer/control_server.h"
#include "producer/ring_writer.h"
#include "transport.h"

namespace ebpf::bench {
namespace {

constexpr uint32_t kSpinUs = 5000;  // longer than any pause of the producer
constexpr uint64_t kAttachTimeoutNs = 15'000'000'000;

class RingChannelWriter : public Writer {
 public:
  static Result<std::unique_ptr<Writer>> open(const ChannelOptions& options,
                                              const std::string& path) {
    RingOptions ring;
    ring.cap_bytes = options.record_bytes - kHeadBytes;
    ring.ring_records = static_cast<uint32_t>(options.ring_bytes / options.record_bytes);
    auto slots = std::make_unique<ConsumerSlots>(ring.max_consumers, ring.lane_count, ring.epoch);
    auto writer = RingWriter::create(ring, *slots);
    if (!writer) return writer.error();
    auto server = ControlServer::create(path, {}, *slots, **writer, {});
    if (!server) return server.error();
    return std::unique_ptr<Writer>(
        new RingChannelWriter(std::move(slots), std::move(*writer), std::move(*server)));
  }

  ~RingChannelWriter() override {
    stop_.store(true);
    serving_.join();
  }

  bool write(Source& source, uint64_t /*first_seq*/, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) {
      const ebpf_record* from = source.next();
      if (writer_->append(0, from->data, from + 1) == nullptr) return false;
    }
    writer_->publish(0);
    return true;
  }
  void end_pass(uint64_t now) override {
    slots_->wake_sleepers(now / 1000);
    slots_->quiet_point();
  }
  void finish() override {
    writer_->end();
    slots_->wake_sleepers(UINT64_MAX);
    while (slots_->count() > 0) sleep_us(100);
  }
  uint64_t window_records() const override { return writer_->lane_capacity(); }

 private:
  RingChannelWriter(std::unique_ptr<ConsumerSlots> slots, std::unique_ptr<RingWriter> writer,
                    std::unique_ptr<ControlServer> server)
      : slots_(std::move(slots)), writer_(std::move(writer)), server_(std::move(server)) {
    serving_ = std::thread([this] {
      while (!stop_.load()) server_->run_once(20);
    });
  }

  std::unique_ptr<ConsumerSlots> slots_;
  std::unique_ptr<RingWriter> writer_;
  std::unique_ptr<ControlServer> server_;
  std::atomic<bool> stop_{false};
  std::thread serving_;
};

class RingChannelReader : public Reader {
 public:
  static Result<std::unique_ptr<Reader>> open(const ChannelOptions& options,
                                              const std::string& path) {
    std::unique_ptr<RingChannelReader> reader(new RingChannelReader);
    ebpf_consumer_options asked = EBPF_CONSUMER_OPTIONS_INIT;
    asked.socket_path = path.c_str();
    asked.flags = EBPF_NO_REATTACH;
    asked.spin_us = options.wait == Wait::kSpin ? kSpinUs : 0;
    asked.name = "bench";
    asked.on_record = [](const ebpf_record* record, uint32_t, void* user) {
      static_cast<RingChannelReader*>(user)->checker_->record(*record);
      return 0;
    };
    asked.on_gap = [](const ebpf_gap* gap, uint32_t, void* user) {
      static_cast<RingChannelReader*>(user)->checker_->gap(gap->count);
    };
    asked.user = reader.get();
    // The producer starts at the same time; on a busy machine it may take its while.
    const uint64_t until = now_ns() + kAttachTimeoutNs;
    const auto not_yet = [](int error) {
      return error == -ENOENT || error == -ECONNREFUSED || error == -ETIMEDOUT;
    };
    int opened = ebpf_consumer_open(&reader->consumer_, &asked);
    while (not_yet(opened) && now_ns() < until) {
      sleep_us(500);
      opened = ebpf_consumer_open(&reader->consumer_, &asked);
    }
    if (opened < 0) return Error{-opened, ebpf_last_error()};
    return std::unique_ptr<Reader>(std::move(reader));
  }
  ~RingChannelReader() override { ebpf_consumer_close(consumer_); }

  int read(Checker& checker) override {
    checker_ = &checker;
    const int count = ebpf_consumer_poll(consumer_, -1);
    return count == -EINTR ? 0 : count;
  }

 private:
  RingChannelReader() = default;
  ebpf_consumer* consumer_ = nullptr;
  Checker* checker_ = nullptr;
};

class RingChannel : public Channel {
 public:
  explicit RingChannel(const ChannelOptions& options)
      : options_(options), path_(options.directory + "/producer.sock") {}
  Result<std::unique_ptr<Writer>> open_writer() override {
    return RingChannelWriter::open(options_, path_);
  }
  Result<std::unique_ptr<Reader>> open_reader(uint32_t) override {
    return RingChannelReader::open(options_, path_);
  }

 private:
  ChannelOptions options_;
  std::string path_;
};

Result<std::unique_ptr<Channel>> create(const ChannelOptions& options) {
  return std::unique_ptr<Channel>(new RingChannel(options));
}

}  // namespace

const Transport kRing{"ring", create};

}  // namespace ebpf::bench

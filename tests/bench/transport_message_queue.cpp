// SPDX-License-Identifier: Apache-2.0
// Boost.Interprocess message_queue, one per consumer. It has no bursts: a record is one
// send(), which copies it in, and one receive(), which copies it out.
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>

#include "transport.h"

namespace ebpf::bench {
namespace {

namespace bip = boost::interprocess;
using Queue = bip::message_queue;

constexpr size_t kMessages = 1024;

class QueueWriter : public Writer {
 public:
  explicit QueueWriter(std::vector<std::unique_ptr<Queue>>& queues) : queues_(queues) {}
  bool write(Source& source, uint64_t first_seq, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) {
      ebpf_record* record = source.next();
      record->seq = first_seq + i;
      for (const auto& queue : queues_) queue->send(record, source.record_bytes(), 0);
    }
    return true;
  }
  void finish() override {
    for (const auto& queue : queues_) queue->send("", 0, 0);
  }

 private:
  std::vector<std::unique_ptr<Queue>>& queues_;
};

class QueueReader : public Reader {
 public:
  QueueReader(Queue& queue, const ChannelOptions& options)
      : queue_(queue),
        spin_(options.wait == Wait::kSpin),
        buffer_((options.record_bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {}

  int read(Checker& checker) override {
    Queue::size_type got = 0;
    unsigned priority = 0;
    const size_t room = queue_.get_max_msg_size();
    if (!spin_) {
      queue_.receive(buffer_.data(), room, got, priority);
    } else if (!queue_.try_receive(buffer_.data(), room, got, priority)) {
      return 0;
    }
    if (got != checker.record_bytes()) return -1;  // the end
    checker.record(*reinterpret_cast<const ebpf_record*>(buffer_.data()));
    return 1;
  }

 private:
  Queue& queue_;
  bool spin_;
  std::vector<uint64_t> buffer_;
};

// Made before the processes part: they inherit the mapping, so the name can go at once.
class QueueChannel : public Channel {
 public:
  explicit QueueChannel(const ChannelOptions& options) : options_(options) {
    for (uint32_t i = 0; i < options.consumers; ++i) {
      const std::string name =
          "libebpf-bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
      Queue::remove(name.c_str());
      queues_.push_back(
          std::make_unique<Queue>(bip::create_only, name.c_str(), kMessages, options.record_bytes));
      Queue::remove(name.c_str());
    }
  }
  Result<std::unique_ptr<Writer>> open_writer() override {
    return std::unique_ptr<Writer>(new QueueWriter(queues_));
  }
  Result<std::unique_ptr<Reader>> open_reader(uint32_t index) override {
    return std::unique_ptr<Reader>(new QueueReader(*queues_[index], options_));
  }

 private:
  ChannelOptions options_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

Result<std::unique_ptr<Channel>> create(const ChannelOptions& options) {
  try {
    return std::unique_ptr<Channel>(new QueueChannel(options));
  } catch (const bip::interprocess_exception& failure) {
    return Error{EIO, std::string("message_queue: ") + failure.what()};
  }
}

}  // namespace

const Transport kMessageQueue{"message_queue", create};

}  // namespace ebpf::bench

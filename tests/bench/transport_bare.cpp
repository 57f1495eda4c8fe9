// SPDX-License-Identifier: Apache-2.0
// What the hardware gives: memcpy into shared memory, one counter that says how far, readers
// that look at the bytes right there. Nothing guards them from being overwritten (the bench
// paces the writer), nobody can sleep, join or leave. Not something to use; a limit to know.
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <new>

#include "transport.h"

namespace ebpf::bench {
namespace {

struct Shared {
  alignas(64) std::atomic<uint64_t> written{0};  // records
  alignas(64) uint8_t bytes[1];
};

class BareChannel : public Channel {
 public:
  BareChannel(const ChannelOptions& options, void* memory, size_t size)
      : options_(options), shared_(new (memory) Shared), size_(size) {}
  ~BareChannel() override { munmap(shared_, size_); }

  Result<std::unique_ptr<Writer>> open_writer() override;
  Result<std::unique_ptr<Reader>> open_reader(uint32_t index) override;

  uint64_t window() const { return options_.ring_bytes / options_.record_bytes; }
  ebpf_record* at(uint64_t seq) const {
    return reinterpret_cast<ebpf_record*>(shared_->bytes + seq % window() * options_.record_bytes);
  }
  std::atomic<uint64_t>& written() const { return shared_->written; }
  bool yields() const { return options_.wait != Wait::kSpin; }

 private:
  ChannelOptions options_;
  Shared* shared_;
  size_t size_;
};

class BareWriter : public Writer {
 public:
  explicit BareWriter(const BareChannel& channel) : channel_(channel) {}
  bool write(Source& source, uint64_t first_seq, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) {
      ebpf_record* record = source.next();
      record->seq = first_seq + i;
      std::memcpy(channel_.at(first_seq + i), record, source.record_bytes());
    }
    channel_.written().store(first_seq + count, std::memory_order_release);
    return true;
  }
  uint64_t window_records() const override { return channel_.window(); }

 private:
  const BareChannel& channel_;
};

class BareReader : public Reader {
 public:
  explicit BareReader(const BareChannel& channel) : channel_(channel) {}
  int read(Checker& checker) override {
    const bool over = checker.board().over.load() != 0;
    const uint64_t until = channel_.written().load(std::memory_order_acquire);
    const auto count = static_cast<int>(until - checker.next_seq());
    while (checker.next_seq() != until) checker.record(*channel_.at(checker.next_seq()));
    if (count > 0) return count;
    if (over) return -1;
    if (channel_.yields()) {
      sched_yield();
    } else {
      relax();
    }
    return 0;
  }

 private:
  const BareChannel& channel_;
};

Result<std::unique_ptr<Writer>> BareChannel::open_writer() {
  return std::unique_ptr<Writer>(new BareWriter(*this));
}

Result<std::unique_ptr<Reader>> BareChannel::open_reader(uint32_t) {
  return std::unique_ptr<Reader>(new BareReader(*this));
}

Result<std::unique_ptr<Channel>> create(const ChannelOptions& options) {
  const size_t size = sizeof(Shared) + options.ring_bytes;
  void* at =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) return errno_error("cannot map shared memory");
  return std::unique_ptr<Channel>(new BareChannel(options, at, size));
}

}  // namespace

const Transport kBare{"bare memory", create};

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
#include "producer_loop.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace ebpf::bench {
namespace {

constexpr uint32_t kPass = kBurst * kPassBursts;
// Latencies are taken until there are so many, even where the time is up long before.
constexpr uint64_t kSamplesMin = 20;

bool write_pass(Writer& writer, Source& source, uint64_t& seq) {
  for (uint32_t burst = 0; burst < kPassBursts; ++burst) {
    if (!writer.write(source, seq, kBurst)) return false;
    seq += kBurst;
  }
  return true;
}

// Keeps the producer within half a window of the slowest reader. This is the bench's own
// doing: the ring never waits for anybody.
class Pacer {
 public:
  Pacer(Writer& writer, const Board& board, const RunOptions& options)
      : writer_(writer), board_(board), consumers_(options.channel.consumers) {
    if (options.pace == Pace::kLossless && consumers_ > 0) limit_ = writer.window_records() / 2;
  }

  void wait_for_room(uint64_t seq) {
    if (limit_ == 0 || seq + kPass - slowest_ <= limit_) return;
    slowest_ = find_slowest();
    for (uint32_t tries = 1; seq + kPass - slowest_ > limit_; ++tries) {
      writer_.end_pass(now_ns());
      sched_yield();
      slowest_ = find_slowest();
    }
  }

 private:
  uint64_t find_slowest() const {
    uint64_t slowest = UINT64_MAX;
    for (uint32_t i = 0; i < consumers_; ++i) {
      slowest = std::min(slowest, board_.seats[i].position.load(std::memory_order_acquire));
    }
    return slowest;
  }

  Writer& writer_;
  const Board& board_;
  uint32_t consumers_;
  uint64_t limit_ = 0;  // 0: no limit
  uint64_t slowest_ = 0;
};

bool write_stream(Writer& writer, Board& board, const RunOptions& options) {
  Source source(options.channel.record_bytes);
  Pacer pacer(writer, board, options);
  uint64_t seq = 0;
  board.start_ns = now_ns();
  const uint64_t until = board.start_ns + static_cast<uint64_t>(options.seconds * 1e9);
  uint64_t now = board.start_ns;
  do {
    pacer.wait_for_room(seq);
    if (!write_pass(writer, source, seq)) return false;
    writer.end_pass(now);
    now = now_ns();
  } while (now < until);
  board.end_ns = now_ns();
  board.published = seq;
  return true;
}

// One record, then a pause that varies, so that it does not fall in step with the reader.
bool write_singles(Writer& writer, Board& board, const RunOptions& options) {
  Source source(options.channel.record_bytes);
  std::minstd_rand random(1);
  uint64_t seq = 0;
  board.start_ns = now_ns();
  const auto until = board.start_ns + static_cast<uint64_t>(options.seconds * 1e9);
  const auto pause_ns = static_cast<uint64_t>(options.pause_us) * 1000;
  for (uint64_t now = board.start_ns; now < until || seq < kSamplesMin; now = now_ns()) {
    if (seq == kSamplesMax) break;
    const uint64_t next = now + pause_ns / 2 + random() % pause_ns;
    while (now_ns() < next) relax();
    source.peek()->data.timestamp = now_ns();
    if (!writer.write(source, seq, 1)) return false;
    writer.end_pass(now_ns());
    ++seq;
  }
  board.end_ns = now_ns();
  board.published = seq;
  return true;
}

// The limit: plain memcpy of the same bytes into memory of the ring's size, nobody reading.
class Limit {
 public:
  explicit Limit(const RunOptions& options)
      : source_(options.channel.record_bytes), bytes_(options.channel.ring_bytes) {
    void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    at_ = at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
  }
  ~Limit() {
    if (at_ != nullptr) munmap(at_, bytes_);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  explicit operator bool() const { return at_ != nullptr; }

  void copy(uint32_t count) {
    const uint32_t payload = source_.payload_bytes();
    for (uint32_t i = 0; i < count; ++i) {
      if (place_ + source_.record_bytes() > bytes_) place_ = 0;
      const ebpf_record* from = source_.next();
      auto* to = reinterpret_cast<ebpf_record*>(at_ + place_);
      std::memcpy(&to->data, &from->data, sizeof(SK_BPF_DATA) + payload);
      place_ += source_.record_bytes();
      asm volatile("" ::"r"(to) : "memory");
    }
  }

 private:
  Source source_;
  uint64_t bytes_;
  uint8_t* at_;
  uint64_t place_ = 0;
};

// CPU time per record of `records` records, after one lap that brings caches into the state
// that lasts.
template <class WritePass>
double measure(uint64_t lap, uint64_t records, WritePass&& pass) {
  for (uint64_t done = 0; done < lap; done += kPass) pass();
  const uint64_t before = thread_cpu_ns();
  for (uint64_t done = 0; done < records; done += kPass) pass();
  const uint64_t passes = (records + kPass - 1) / kPass;
  return static_cast<double>(thread_cpu_ns() - before) / static_cast<double>(passes * kPass);
}

bool write_phases(Writer& writer, Board& board, const RunOptions& options) {
  Source source(options.channel.record_bytes);
  Limit limit(options);
  if (!limit) return false;
  const uint64_t lap = options.channel.ring_bytes / options.channel.record_bytes;
  // Roughly as many records as take the time asked for.
  const double guess_ns = 5 + options.channel.record_bytes * 0.05;
  const auto records =
      static_cast<uint64_t>(options.seconds * 1e9 / (2 * options.phases) / guess_ns);
  uint64_t seq = 0;
  bool well = true;
  board.start_ns = now_ns();
  for (uint32_t phase = 0; phase < options.phases; ++phase) {
    board.memcpy_ns[phase] = measure(lap, records, [&] { limit.copy(kPass); });
    board.ring_ns[phase] = measure(lap, records, [&] {
      well = write_pass(writer, source, seq) && well;
      writer.end_pass(now_ns());
    });
    board.phase_count = phase + 1;
  }
  board.end_ns = now_ns();
  board.published = seq;
  return well;
}

}  // namespace

bool write_records(Writer& writer, Board& board, const RunOptions& options) {
  if (options.pace == Pace::kSingles) return write_singles(writer, board, options);
  if (options.pace == Pace::kPhases) return write_phases(writer, board, options);
  return write_stream(writer, board, options);
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// The consumer's decoder of records: a ring with real records, changed anywhere, on memory that
// ends where it says. An input is how to read (1 byte), then changes: what part (1 byte), where
// in it (4 bytes), the new value (1 byte).
#include <sys/mman.h>

#include <iterator>
#include <memory>
#include <vector>

#include "consumer/ring_reader.h"
#include "producer/consumer_slots.h"
#include "producer/ring_writer.h"
#include "tests/fuzz/fuzz_support.h"

namespace ebpf::fuzz {
namespace {

constexpr uint32_t kLanes = 2;

RingOptions small_ring() {
  RingOptions options;
  options.lane_count = kLanes;
  options.ring_records = 16;
  options.max_consumers = 1;
  options.epoch = 7;
  return options;
}

// Pages with nothing on both sides.
class Fenced {
 public:
  explicit Fenced(size_t bytes) {
    auto* whole = static_cast<uint8_t*>(
        mmap(nullptr, bytes + 2 * kFence, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    at_ = whole + kFence;
    must(mprotect(at_, bytes, PROT_READ | PROT_WRITE) == 0, "memory");
  }
  uint8_t* at() const { return at_; }

 private:
  static constexpr size_t kFence = 1 << 20;
  uint8_t* at_;
};

class Ring {
 public:
  Ring() : slots_(1, kLanes, 7), page_(EBPF_CONTROL_BYTES) {
    auto made = RingWriter::create(small_ring(), slots_);
    must(made.has_value(), "a ring");
    writer_ = std::move(*made);
    fill();
    const ebpf_ring_header& h = writer_->header();
    bytes_ = h.total_bytes;
    original_ = static_cast<uint8_t*>(
        mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, writer_->read_only_fd(), 0));
    must(original_ != MAP_FAILED, "a mapping");
    copy_ = std::make_unique<Fenced>(bytes_);
    std::memcpy(copy_->at(), original_, bytes_);
  }

  void change(Input& input) {
    const ebpf_ring_header& h = writer_->header();
    const uint64_t starts[] = {0, h.lanes_offset, h.lanes_offset + h.lane_bytes, h.blocks_offset};
    const uint64_t sizes[] = {
        sizeof(ebpf_ring_header), sizeof(ebpf_lane_header) + h.dir_entries * sizeof(uint32_t),
        sizeof(ebpf_lane_header) + h.dir_entries * sizeof(uint32_t), bytes_ - h.blocks_offset};
    while (input.left() > 0) {
      const size_t part = input.take<uint8_t>() % std::size(starts);
      uint64_t at = input.take<uint32_t>();
      // Heads of blocks and records are what counts; their places come first.
      if (part == 3)
        at = (at >> 16) % h.block_count * h.block_bytes + (at & 0xffff) % h.block_bytes;
      copy_->at()[starts[part] + at % sizes[part]] = input.take<uint8_t>();
    }
  }

  void restore() { std::memcpy(copy_->at(), original_, bytes_); }

  void read(uint8_t how) {
    auto view = RingView::create(copy_->at(), bytes_);
    if (!view) return must_be_line(view.error().message);
    std::memset(page_.at(), 0, EBPF_CONTROL_BYTES);
    const Join joins[] = {Join::kTail, Join::kOldest, Join::kFirst, Join::kOldest};
    auto reader = RingReader::create(*view, reinterpret_cast<ebpf_control_page*>(page_.at()), ~0ull,
                                     joins[how & 3]);
    if (!reader) return must_be_line(reader.error().message);
    Sink sink;
    uint64_t seen = 0;
    sink.user = &seen;
    sink.on_record = [](const ebpf_record* record, uint32_t, void* user) {
      const uint8_t* payload = ebpf_record_payload(record);
      volatile uint8_t sum = record->data.need_reconfirm;
      for (uint32_t i = 0; i < record->data.cap_len; ++i) sum = sum + payload[i];
      ++*static_cast<uint64_t*>(user);
      return 0;
    };
    for (int i = 0; i < 4; ++i) (*reader)->read(256, sink);
    if (how & 4) {
      (*reader)->orphan();
      for (int i = 0; i < 4; ++i) (*reader)->read(256, sink);
      (*reader)->close_account(sink);
    }
    for (const LaneReader& lane : (*reader)->lanes()) {
      const LaneCounts counts = lane.counts();
      must(counts.next_seq - counts.join_seq == counts.delivered + counts.filtered + counts.lost,
           "the account");
    }
    must((*reader)->counts().delivered == seen, "what was counted was seen");
    resume(*view, (*reader)->resume_points(), how);
  }

 private:
  void fill() {
    for (uint32_t i = 0; i < 60; ++i) {
      SK_BPF_DATA data{};
      data.socket_id = i / 3;
      data.cap_len = data.syscall_len = i * 37 % (EBPF_CAP_BYTES_DEFAULT + 1);
      data.cap_seq = i;
      const std::string payload(data.cap_len, static_cast<char>('a' + i % 26));
      writer_->append(i % kLanes, data, payload.data());
      if (i % 20 == 7) writer_->append_gap(i % kLanes, EBPF_GAP_PERF_FULL, 5, i);
    }
    writer_->publish_all();
  }

  // Points that come from outside, true ones and others.
  void resume(const RingView& view, std::vector<ResumePoint> points, uint8_t how) const {
    for (ResumePoint& point : points) point.next_seq += how >> 3;
    auto again = RingReader::resume_checked(view, reinterpret_cast<ebpf_control_page*>(page_.at()),
                                            ~0ull, points);
    if (!again) must_be_line(again.error().message);
  }

  ConsumerSlots slots_;
  std::unique_ptr<RingWriter> writer_;
  Fenced page_;
  uint64_t bytes_ = 0;
  uint8_t* original_ = nullptr;
  std::unique_ptr<Fenced> copy_;
};

}  // namespace
}  // namespace ebpf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ebpf::fuzz;
  static Ring& ring = *new Ring;
  Input input(data, size);
  const auto how = input.take<uint8_t>();
  ring.change(input);
  ring.read(how);
  ring.restore();
  return 0;
}

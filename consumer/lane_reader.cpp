// SPDX-License-Identifier: Apache-2.0
#include "consumer/lane_reader.h"

#include <time.h>

#include "consumer/record_check.h"

namespace ebpf {
namespace {

// How often a join may be overtaken by the writer before the lane counts as broken.
constexpr int kJoinTries = 1000;

uint64_t wall_clock_us() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// Sequence numbers are modulo 2^64: how far `b` is ahead of `a`, negative if behind.
int64_t ahead(uint64_t a, uint64_t b) { return static_cast<int64_t>(b - a); }

}  // namespace

ebpf_gap make_gap(uint32_t cause, uint64_t count, uint64_t seq) {
  ebpf_gap gap{};
  gap.length_bytes = sizeof gap;
  gap.kind = EBPF_RECORD_GAP;
  gap.seq = seq;
  gap.count = count;
  gap.timestamp_us = wall_clock_us();
  gap.cause = cause;
  return gap;
}

LaneReader::LaneReader(const RingView& view, uint32_t lane, ebpf_control_page* page)
    : words_(view, lane, page), view_(&view), shape_(view.shape(lane)) {}

Result<> LaneReader::join_tail() {
  for (int tries = 0; tries < kJoinTries; ++tries) {
    if (!pin_tail(words_, shape_, at_, next_seq_)) continue;
    join_seq_ = next_seq_;
    return Unit{};
  }
  return join_oldest();
}

Result<> LaneReader::join_oldest() {
  if (words_.head().load_acquire() == 0) {
    join_first();
    return Unit{};
  }
  for (int tries = 0; tries < kJoinTries; ++tries) {
    if (!pin_oldest(words_, shape_, at_, tries, next_seq_)) continue;
    join_seq_ = next_seq_;
    return Unit{};
  }
  return Error{EBADMSG, "lane " + std::to_string(shape_.lane) + " of the ring has no live segment"};
}

void LaneReader::join_first() {
  at_ = LanePosition{};
  join_seq_ = next_seq_ = view_->lane(shape_.lane)->initial_seq;
}

void LaneReader::resume(const ResumePoint& point) {
  at_ = point.at;
  at_.pinned = false;
  pending_cause_ = point.pending_cause;
  join_seq_ = next_seq_ = point.next_seq;
}

Result<> LaneReader::resume_checked(const ResumePoint& point) {
  resume(point);
  const uint64_t head = words_.head().load_acquire();
  const uint64_t first = view_->lane(shape_.lane)->initial_seq;
  const bool within =
      ahead(first, next_seq_) >= 0 && ahead(next_seq_, words_.published_seq().load_relaxed()) >= 0;
  bool good = within && (at_.segment < head || (at_.segment == head && at_.offset == 0));
  // Retired meanwhile: what is lost is counted on the way to the oldest segment.
  if (good && at_.segment < head && pin_segment(words_, shape_, at_)) {
    good = leads_to(point);
    unpin(words_, at_);  // enter() takes the account along
  }
  if (good) return Unit{};
  return Error{EINVAL, "no consumer can have stood at segment " + std::to_string(point.at.segment) +
                           ", offset " + std::to_string(point.at.offset) + ", record " +
                           std::to_string(point.next_seq) + " of lane " +
                           std::to_string(shape_.lane)};
}

// Whether the records of the pinned segment, one after the other, end at the point.
bool LaneReader::leads_to(const ResumePoint& point) const {
  uint64_t seq = words_.first_seq(at_.block).load_relaxed();
  if (point.at.offset == 0) return ahead(point.next_seq, seq) >= 0;
  const uint32_t bytes = ebpf_committed_bytes(words_.committed(at_.block).load_acquire());
  if (bytes > view_->segment_bytes() || bytes < point.at.offset) return false;
  uint32_t offset = 0;
  while (offset < point.at.offset) {
    const uint8_t* place = view_->records(at_.block) + offset;
    const uint32_t length = shm_load_relaxed_u32(reinterpret_cast<const uint32_t*>(place));
    if (!valid_length(length, bytes - offset)) return false;
    if (reinterpret_cast<const ebpf_record*>(place)->kind == EBPF_RECORD_DATA) ++seq;
    offset += length;
  }
  return offset == point.at.offset && seq == point.next_seq;
}

ResumePoint LaneReader::resume_point() const {
  return {shape_.lane, pending_cause_, at_, next_seq_};
}

void LaneReader::orphan() {
  unpin(words_, at_);
  orphaned_ = true;
  readable_until_ = words_.published_seq().load_relaxed();
}

uint32_t LaneReader::read(uint32_t budget, Sink& sink) {
  uint32_t delivered = 0;
  dry_ = false;
  while (budget > 0 && !sink.stop && enter(sink)) {
    const uint64_t committed = words_.committed(at_.block).load_acquire();
    if (orphaned_ && !still_there()) {
      at_.pinned = false;
      continue;
    }
    const uint32_t bytes = ebpf_committed_bytes(committed);
    if (bytes > view_->segment_bytes() || bytes % EBPF_RECORD_ALIGN != 0 || bytes < at_.offset) {
      skip_segment();
      continue;
    }
    const uint32_t used = walk(bytes, budget, sink, delivered);
    budget -= used;
    if (!at_.pinned) continue;  // skipped, or taken away
    const bool at_end = at_.offset == bytes;
    if (at_end && leave_segment(words_, at_, committed)) continue;
    if (at_end || used == 0) {
      dry_ = true;  // at the end, or at the end of what an orphan may read
      break;
    }
  }
  return delivered;
}

// Makes sure that the segment at which we stand is pinned and follows on.
bool LaneReader::enter(Sink& sink) {
  // An orphan's pin protects nothing; it finds out with every record instead.
  while (!at_.pinned) {
    bool lapped = false;
    const Seek found = seek_segment(words_, shape_, at_, orphaned_ || view_->ended(), lapped);
    if (lapped && pending_cause_ == 0) pending_cause_ = EBPF_GAP_LAPPED;
    if (found != Seek::kPinned) {
      dry_ = found == Seek::kNothingYet;
      return false;
    }
    if (!settle(sink)) skip_segment();
  }
  return true;
}

// Takes the account into a segment that was just pinned; false: it cannot be the one.
bool LaneReader::settle(Sink& sink) {
  if (at_.offset != 0) return true;  // back in the middle of it
  const uint64_t first_seq = words_.first_seq(at_.block).load_relaxed();
  if (orphaned_ && !still_there()) {
    at_.pinned = false;
    return true;
  }
  const int64_t missing = ahead(next_seq_, first_seq);
  if (missing < 0) return false;
  if (missing > 0 || pending_cause_ == EBPF_GAP_CORRUPT) {
    lose(pending_cause_ != 0 ? pending_cause_ : EBPF_GAP_CORRUPT, first_seq, sink);
  }
  pending_cause_ = 0;
  return true;
}

bool LaneReader::still_there() const {
  return words_.generation(at_.block).load_seq_cst() == ebpf_generation(shape_.lane, at_.segment);
}

void LaneReader::skip_segment() {
  pending_cause_ = EBPF_GAP_CORRUPT;
  ++at_.segment;
  at_.offset = 0;
  unpin(words_, at_);
}

void LaneReader::lose(uint32_t cause, uint64_t first_seq, Sink& sink) {
  const uint64_t count = first_seq - next_seq_;
  pending_cause_ = 0;
  lost_ += count;
  next_seq_ = first_seq;
  sink.tell_gap(make_gap(cause, count, first_seq), shape_.lane);
}

// The record at the position: in place, or, for an orphan, in a copy that nobody rewrites.
// nullptr: the segment is gone.
const ebpf_record* LaneReader::fetch(uint32_t length_bytes) {
  const uint8_t* in_ring = view_->records(at_.block) + at_.offset;
  if (!orphaned_) return reinterpret_cast<const ebpf_record*>(in_ring);
  const size_t words = length_bytes / sizeof(uint64_t);
  if (scratch_.size() < words) scratch_.resize(words);
  const auto* from = reinterpret_cast<const uint64_t*>(in_ring);
  // Acquire loads, so that the look at the generation comes after all of them.
  for (size_t i = 0; i < words; ++i) scratch_[i] = shm_load_acquire_u64(from + i);
  return still_there() ? reinterpret_cast<const ebpf_record*>(scratch_.data()) : nullptr;
}

// Delivers from the position up to `bytes`; returns how much of the budget is used up.
uint32_t LaneReader::walk(uint32_t bytes, uint32_t budget, Sink& sink, uint32_t& delivered) {
  uint32_t used = 0;
  while (at_.offset < bytes && used < budget && !sink.stop) {
    const uint32_t room = bytes - at_.offset;
    const uint8_t* place = view_->records(at_.block) + at_.offset;
    const uint32_t length = shm_load_relaxed_u32(reinterpret_cast<const uint32_t*>(place));
    const ebpf_record* record =
        valid_length(length, room) ? fetch(length) : reinterpret_cast<const ebpf_record*>(place);
    if (record == nullptr || (orphaned_ && !still_there())) {
      at_.pinned = false;  // seek_segment() finds where to go on
      break;
    }
    if (orphaned_ && record->kind == EBPF_RECORD_DATA && ahead(next_seq_, readable_until_) <= 0) {
      break;
    }
    if (!valid_length(length, room) || !take(*record, length, sink, delivered)) {
      skip_segment();
      break;
    }
    ++used;
  }
  return used;
}

// Delivers one record, or skips it where the filter says so; false: it cannot be valid. The account
// is taken before the callback runs, so that stats are exact inside it too.
bool LaneReader::take(const ebpf_record& record, uint32_t length_bytes, Sink& sink,
                      uint32_t& delivered) {
  if (record.kind == EBPF_RECORD_DATA) {
    if (!valid_data(record, length_bytes, next_seq_, view_->cap_bytes())) return false;
    at_.offset += length_bytes;
    ++next_seq_;
    if (sink.filter != nullptr && !sink.filter->wants(record.data)) {
      ++filtered_;
      ++sink.filtered;
      return true;
    }
    ++delivered_;
    ++delivered;
    if (sink.on_record(&record, shape_.lane, sink.user) != 0) sink.stop = true;
    return true;
  }
  const auto& gap = reinterpret_cast<const ebpf_gap&>(record);
  if (record.kind != EBPF_RECORD_GAP || !valid_gap(gap, length_bytes, next_seq_)) return false;
  at_.offset += length_bytes;
  sink.tell_gap(gap, shape_.lane);
  return true;
}

void LaneReader::close_account(Sink& sink) {
  // A producer that was killed between counting a burst and publishing it leaves some
  // behind; more than the window could hold is no count of records.
  const int64_t missing = ahead(next_seq_, words_.published_seq().load_relaxed());
  const int64_t plausible = static_cast<int64_t>(view_->segment_bytes() / sizeof(ebpf_record)) *
                            (shape_.window_segments + 1);
  const int64_t told = missing > 0 && missing <= plausible ? missing : 0;
  if (told > 0 || pending_cause_ != 0) {
    lose(pending_cause_ != 0 ? pending_cause_ : EBPF_GAP_CORRUPT,
         next_seq_ + static_cast<uint64_t>(told), sink);
  }
}

void LaneReader::store_hints() {
  ebpf_control_lane* control = words_.control();
  shm_store_relaxed_u64(&control->join_seq, join_seq_);
  shm_store_relaxed_u64(&control->next_seq, next_seq_);
  shm_store_relaxed_u64(&control->delivered, delivered_);
  shm_store_relaxed_u64(&control->filtered, filtered_);
  shm_store_relaxed_u64(&control->lost, lost_);
}

LaneCounts LaneReader::counts() const {
  const int64_t unread = ahead(next_seq_, words_.published_seq().load_relaxed());
  return {join_seq_, next_seq_, delivered_,
          filtered_, lost_,     unread > 0 ? static_cast<uint64_t>(unread) : 0};
}

}  // namespace ebpf

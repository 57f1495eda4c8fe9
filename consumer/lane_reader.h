// SPDX-License-Identifier: Apache-2.0
// Reads one lane: pins segments, checks records, hands them out in place, and keeps an
// exact account. One thread; no system calls but for the clock, once per gap.
#pragma once

#include <cstdint>
#include <vector>

#include "consumer/pin_protocol.h"
#include "consumer/record_filter.h"
#include "consumer/ring_view.h"
#include "consumer/shm_words.h"
#include "libebpf/consumer.h"

namespace ebpf {

// Where records and gaps go, and what is counted on their way.
struct Sink {
  ebpf_record_fn on_record = nullptr;
  ebpf_gap_fn on_gap = nullptr;
  void* user = nullptr;
  const RecordFilter* filter = nullptr;  // nullptr: every record
  bool stop = false;                     // a callback asked for the end of this poll
  uint64_t gaps = 0;
  uint64_t upstream_lost = 0;
  uint64_t filtered = 0;

  void tell_gap(const ebpf_gap& gap, uint32_t lane) {
    ++gaps;
    if (gap.cause == EBPF_GAP_PERF_FULL || gap.cause == EBPF_GAP_NO_ROOM) {
      upstream_lost += gap.count;
    }
    if (on_gap != nullptr) on_gap(&gap, lane, user);
  }
};

// next_seq - join_seq == delivered + filtered + lost, at any moment.
struct LaneCounts {
  uint64_t join_seq = 0;
  uint64_t next_seq = 0;
  uint64_t delivered = 0;
  uint64_t filtered = 0;
  uint64_t lost = 0;
  uint64_t unread = 0;

  LaneCounts& operator+=(const LaneCounts& other) {  // the sequence numbers do not add up
    delivered += other.delivered;
    filtered += other.filtered;
    lost += other.lost;
    unread += other.unread;
    return *this;
  }
};

// Where a consumer stood in a lane when an attachment ended; good for the same epoch only.
struct ResumePoint {
  uint32_t lane = 0;
  uint32_t pending_cause = 0;
  LanePosition at;
  uint64_t next_seq = 0;
};

// A gap notice of the consumer's own making.
ebpf_gap make_gap(uint32_t cause, uint64_t count, uint64_t seq);

class LaneReader {
 public:
  // `view` and `page` outlive the reader.
  LaneReader(const RingView& view, uint32_t lane, ebpf_control_page* page);

  // The first position; one of these, before anything else. EBADMSG: the lane has no
  // segment where it must have one.
  Result<> join_tail();
  Result<> join_oldest();
  void join_first();  // at the first record ever; what is gone already counts as lost

  void resume(const ResumePoint& point);
  // As resume(), for a point from outside. EINVAL: nobody can have stood there.
  Result<> resume_checked(const ResumePoint& point);
  ResumePoint resume_point() const;

  // The producer no longer honours our pins: records are copied, and checked to be of one
  // piece, before they are delivered; only what was published until now.
  void orphan();

  // Delivers at most `budget` records and notices; returns how many records it were.
  uint32_t read(uint32_t budget, Sink& sink);
  // The last read() ended because there was nothing left that may be read.
  bool dry() const { return dry_; }
  // Part of going to sleep, see pin_protocol.h.
  bool has_more() const { return ebpf::has_more(words_, at_); }

  void leave() { unpin(words_, at_); }

  // Nothing more will come: what was announced, but cannot be read, is lost.
  void close_account(Sink& sink);

  void store_hints();
  LaneCounts counts() const;
  uint32_t lane() const { return shape_.lane; }

 private:
  bool enter(Sink& sink);
  bool settle(Sink& sink);
  bool still_there() const;
  bool leads_to(const ResumePoint& point) const;
  void skip_segment();
  void lose(uint32_t cause, uint64_t first_seq, Sink& sink);
  const ebpf_record* fetch(uint32_t length_bytes);
  uint32_t walk(uint32_t bytes, uint32_t budget, Sink& sink, uint32_t& delivered);
  bool take(const ebpf_record& record, uint32_t length_bytes, Sink& sink, uint32_t& delivered);

  ShmLaneWords words_;
  const RingView* view_;
  LaneShape shape_;
  LanePosition at_;
  uint32_t pending_cause_ = 0;  // why the segment being entered may not follow on; 0: it must
  bool dry_ = false;
  bool orphaned_ = false;
  uint64_t readable_until_ = 0;    // while orphaned
  std::vector<uint64_t> scratch_;  // while orphaned: the record being delivered
  uint64_t join_seq_ = 0;
  uint64_t next_seq_ = 0;
  uint64_t delivered_ = 0;
  uint64_t filtered_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// Who works on the ring: the drain thread with its writer, the control thread, consumers.
// Loops and accounts follow producer/publisher.cpp, producer/consumer_slots.cpp,
// consumer/lane_reader.cpp and consumer/consumer.cpp; all that is done to shared words in
// them is done by the real protocol code.
#pragma once

#include <array>

#include "tests/model/ring.h"

namespace ebpf::model {

// ---- drain thread -----------------------------------------------------------------

template <class S, uint32_t page_count>
class Writer {
 public:
  using Memory = WriterMemory<S, page_count>;
  using Protocol = LaneProtocol<Memory>;

  // The vectors inside are made before the exploration begins: what is allocated in it, the
  // model checker takes for a part of the execution.
  static void prepare() {
    const uint32_t blocks = S::kBlocks - (trick == Trick::kPoolOneBlockLess ? 1 : 0);
    fresh_ = std::make_unique<Protocol>(Memory(), S::kLanes, S::kWindow, blocks, 0);
    protocol_ = std::make_unique<Protocol>(Memory(), S::kLanes, S::kWindow, blocks, 0);
  }

  void init(Ring<S>& ring, Slots<S, page_count>& slots) {
    Memory::shared = {&ring, &slots};
    *protocol_ = *fresh_;
    ring_ = &ring;
    slots_ = &slots;
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) protocol_->roll(lane);
  }

  void append(uint32_t index) {
    auto& lane = protocol_->lane(index);
    if (lane.bytes == S::kRoom) protocol_->roll(index);
    ring_->records[lane.block][lane.records]($) = record_value(index, lane.next_seq);
    lane.bytes += kRecordBytes;
    lane.records += 1;
    lane.next_seq += 1;
  }

  // What Publisher::flush() and the drain do between two bursts. Returns whether a wake-up
  // has to wait, and flush() must be called again. `may_defer`: the last wake-up may have
  // been a moment ago.
  bool flush(bool wake, bool may_defer) {
    bool pending = false;
    if (wake && trick == Trick::kWakeBeforePublish) pending = wake_sleepers(may_defer);
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) protocol_->publish(lane);
    if (wake && trick != Trick::kWakeBeforePublish) pending = wake_sleepers(may_defer);
    pass_quiet_point(*slots_);
    return pending && trick != Trick::kPendingWakeForgotten;
  }

  void end() {
    if (trick == Trick::kEndedBeforePublish) Handle(ring_->state).store_release(EBPF_RING_ENDED);
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) protocol_->publish(lane);
    if (trick != Trick::kEndedBeforePublish) Handle(ring_->state).store_release(EBPF_RING_ENDED);
  }

  uint64_t next_seq(uint32_t lane) const { return protocol_->lane(lane).next_seq; }

  void check_pool() const {
    size_t live = 0;
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) {
      live += std::min<uint64_t>(protocol_->lane(lane).head, S::kWindow);
    }
    const auto& pool = protocol_->pool();
    RL_ASSERT(live + pool.free() + pool.parked() == S::kBlocks);
    RL_ASSERT(pool.parked() <= S::kSlots * S::kLanes);
  }

 private:
  using Page = typename Slots<S, page_count>::Page;

  bool wake_sleepers(bool may_defer) {
    bool pending = false;
    scan_sleepers(*slots_, [&](Page page) {
      if (!wake(page, may_defer)) pending = true;
    });
    return pending;
  }

  // As ConsumerSlots::wake(). Whether the last wake-up was a moment ago, or the kernel is
  // out of memory for the doorbell, is a matter of luck here, while `may_defer`.
  bool wake(Page page, bool may_defer) {
    if (!page->rang_in_vain && !says_it_sleeps(*slots_, page)) return true;
    if (page->woken_before && may_defer && rl::rand(2) == 1) return false;
    page->woken_before = true;
    if (trick == Trick::kBellBeforeClearing) page->socket.send();
    const uint32_t how = take_announcement(*slots_, page);
    if (how == EBPF_SLEEPS_ON_FUTEX) page->sleeping.futex_wake();
    if (how == EBPF_SLEEPS_ON_DOORBELL || page->rang_in_vain) {
      page->rang_in_vain = may_defer && rl::rand(2) == 1;
      const bool rung_before = trick == Trick::kBellBeforeClearing;
      if (!page->rang_in_vain && !rung_before) page->socket.send();
    }
    return !page->rang_in_vain;
  }

  static inline std::unique_ptr<Protocol> fresh_;
  static inline std::unique_ptr<Protocol> protocol_;
  Ring<S>* ring_ = nullptr;
  Slots<S, page_count>* slots_ = nullptr;
};

// ---- a consumer -------------------------------------------------------------------

enum class Join { kFirst, kTail, kOldest, kResume };

// Where a consumer stood in a lane when it was cut off.
struct ResumePoint {
  LanePosition at;
  bool lapped = false;
  uint64_t next_seq = 0;
};

// One lane, as LaneReader reads it.
template <class S>
class Reader {
 public:
  Reader(Ring<S>& ring, uint32_t lane, ControlPage<S>& page, Fuse& fuse, Join join,
         const ResumePoint& point)
      : ring_(ring),
        lane_(lane),
        words_(ring, lane, page, fuse, at_),
        shape_{lane, S::kWindow, S::kDirEntries, S::kBlocks} {
    if (join == Join::kTail) join_tail();
    if (join == Join::kOldest) join_oldest();
    if (join == Join::kResume) {
      at_ = point.at;
      at_.pinned = false;
      lapped_ = point.lapped;
      join_seq_ = next_seq_ = point.next_seq;
    }
  }

  uint32_t read(uint32_t budget, bool ended) {
    uint32_t delivered = 0;
    dry_ = false;
    while (delivered < budget && enter(ended)) {
      const uint64_t committed = words_.committed(at_.block).load_acquire();
      const uint32_t bytes = ebpf_committed_bytes(committed);
      RL_ASSERT(bytes >= at_.offset && bytes <= S::kRoom);
      if (trick == Trick::kUnpinBeforeReading) words_.pin().store_release(0);
      for (; at_.offset < bytes && delivered < budget; ++delivered) take();
      const bool at_end = at_.offset == bytes;
      if (at_end && leave_segment(words_, at_, committed)) continue;
      if (at_end) {
        dry_ = true;
        break;
      }
    }
    RL_ASSERT(delivered_ + lost_ == next_seq_ - join_seq_);
    return delivered;
  }

  bool dry() const { return dry_; }
  bool has_more() const { return ebpf::has_more(words_, at_); }
  void leave() { unpin(words_, at_); }
  uint64_t next_seq() const { return next_seq_; }
  ResumePoint resume_point() const { return {at_, lapped_, next_seq_}; }

 private:
  void join_tail() {
    for (int tries = 0; tries < 3; ++tries) {
      if (!pin_tail(words_, shape_, at_, next_seq_)) continue;
      join_seq_ = next_seq_;
      return;
    }
    join_oldest();
  }

  void join_oldest() {
    for (int tries = 0; !pin_oldest(words_, shape_, at_, tries, next_seq_); ++tries) {
      rl::yield(1, $);
    }
    join_seq_ = next_seq_;
  }

  bool enter(bool ended) {
    if (at_.pinned) return true;
    const uint64_t wanted = at_.segment;
    bool lapped = false;
    const Seek found = seek_segment(words_, shape_, at_, ended, lapped);
    // Nothing that is still there is ever passed over, but for the headroom after a lap.
    if (lapped) RL_ASSERT(wanted < ring_.retired[lane_]);
    if (lapped) lapped_ = true;
    if (found != Seek::kPinned) {
      dry_ = found == Seek::kNothingYet;
      return false;
    }
    if (at_.offset != 0) return true;
    const uint64_t first_seq = words_.first_seq(at_.block).load_relaxed();
    RL_ASSERT(first_seq == next_seq_ || (first_seq > next_seq_ && lapped_));
    lost_ += first_seq - next_seq_;
    next_seq_ = first_seq;
    lapped_ = false;
    return true;
  }

  void take() {
    RL_ASSERT(words_.record(at_.block, at_.offset) == record_value(lane_, next_seq_));
    at_.offset += kRecordBytes;
    ++next_seq_;
    ++delivered_;
    RL_ASSERT(words_.published_seq().load_relaxed() >= next_seq_);
  }

  Ring<S>& ring_;
  uint32_t lane_;
  LanePosition at_;
  LaneWords<S> words_;
  LaneShape shape_;
  bool dry_ = false;
  bool lapped_ = false;
  uint64_t join_seq_ = 0;
  uint64_t next_seq_ = 0;
  uint64_t delivered_ = 0;
  uint64_t lost_ = 0;
};

enum class Sleep { kNever, kFutex, kDoorbell };

// All lanes, and a consumer's life around them, as class Consumer leads it. `Readers` are
// made anew for each life.
template <class S>
class Agent {
 public:
  using Points = std::array<ResumePoint, S::kLanes>;

  Agent(Ring<S>& ring, ControlPage<S>& page, Fuse fuse, Join join, const Points& points = {})
      : ring_(ring), page_(page), fuse_(fuse) {
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) {
      new (&readers_[lane]) Reader<S>(ring, lane, page, fuse_, join, points[lane]);
    }
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Reads until the ring has ended and all is read, or for so many polls.
  bool read_to_end(uint32_t polls) {
    for (uint32_t i = 0; i < polls; ++i) {
      bool ended = trick != Trick::kEndedReadLast && has_ended();
      const uint32_t delivered = read(ended);
      if (trick == Trick::kEndedReadLast) ended = has_ended();
      if (ended && delivered == 0 && dry()) return true;
      if (delivered == 0) rl::yield(1, $);
    }
    return false;
  }

  // Reads until `total` records of each lane are behind it; sleeps in between.
  void read_and_sleep(Sleep how, uint64_t total) {
    while (!is_at(total)) {
      if (how == Sleep::kFutex) {
        wait_by_futex();
      } else {
        poll_by_doorbell();
      }
    }
  }

  void leave() {
    for (Reader<S>& reader : readers()) reader.leave();
  }
  uint64_t next_seq(uint32_t lane) { return readers_[lane].reader.next_seq(); }
  Points resume_points() const {
    Points points;
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) {
      points[lane] = readers_[lane].reader.resume_point();
    }
    return points;
  }

 private:
  union Place {  // no default constructor, no allocation
    Place() {}
    ~Place() {}
    Reader<S> reader;
  };
  struct Range {
    Place* first;
    struct At {
      Place* place;
      Reader<S>& operator*() const { return place->reader; }
      At& operator++() {
        ++place;
        return *this;
      }
      bool operator!=(const At& other) const { return place != other.place; }
    };
    At begin() const { return {first}; }
    At end() const { return {first + S::kLanes}; }
  };
  Range readers() { return {readers_}; }

  bool has_ended() { return Handle(ring_.state, &fuse_).load_acquire() == EBPF_RING_ENDED; }

  uint32_t read(bool ended) {
    uint32_t delivered = 0;
    for (Reader<S>& reader : readers()) delivered += reader.read(UINT32_MAX, ended);
    return delivered;
  }
  bool dry() {
    for (Reader<S>& reader : readers()) {
      if (!reader.dry()) return false;
    }
    return true;
  }
  bool has_more() {
    for (Reader<S>& reader : readers()) {
      if (reader.has_more()) return true;
    }
    return false;
  }
  bool is_at(uint64_t total) {
    for (Reader<S>& reader : readers()) {
      if (reader.next_seq() != total) return false;
    }
    return true;
  }

  bool announce(uint32_t how) {
    const Handle sleeping(page_.sleeping, &fuse_);
    if (trick == Trick::kNoRecheck) return announce_sleep(sleeping, how, [] { return false; });
    if (trick == Trick::kRecheckBeforeAnnouncing) {
      return !has_more() && announce_sleep(sleeping, how, [] { return false; });
    }
    return announce_sleep(sleeping, how, [this] { return has_more(); });
  }

  // Consumer::deliver() and wait().
  void wait_by_futex() {
    if (read(false) > 0) return;
    if (!announce(EBPF_SLEEPS_ON_FUTEX)) return;
    page_.sleeping.futex_wait(EBPF_SLEEPS_ON_FUTEX);
    Handle(page_.sleeping, &fuse_).store_relaxed(EBPF_AWAKE);
  }

  // A poll that does not wait, then the owner's event loop, which does.
  void poll_by_doorbell() {
    const Handle sleeping(page_.sleeping, &fuse_);
    if (read(false) > 0) {
      if (sleeping.load_relaxed() != EBPF_AWAKE) sleeping.store_relaxed(EBPF_AWAKE);
      return;
    }
    if (trick != Trick::kDoorbellNotDrainedFirst) page_.socket.drain();
    const bool still_announced = sleeping.load_relaxed() == EBPF_SLEEPS_ON_DOORBELL;
    if (!still_announced && !announce(EBPF_SLEEPS_ON_DOORBELL)) return;
    if (trick == Trick::kDoorbellNotDrainedFirst) page_.socket.drain();
    page_.socket.wait_readable();
  }

  Ring<S>& ring_;
  ControlPage<S>& page_;
  Fuse fuse_;
  Place readers_[S::kLanes];
};

// ---- control thread ---------------------------------------------------------------

template <class S, uint32_t page_count>
class Control {
 public:
  void init(Slots<S, page_count>& slots) { slots_ = &slots; }

  // `hand_out` gives the page to the consumer.
  template <class HandOut>
  uint32_t attach(HandOut&& hand_out) {
    collect();
    uint32_t slot = 0;
    while (taken_[slot]) ++slot;
    taken_[slot] = true;
    RL_ASSERT(pages_used_ < page_count);
    const uint32_t page = pages_used_++;
    page_of_[slot] = page;
    if (trick == Trick::kRegisteredLate) hand_out(page);
    enter_slot(*slots_, slot, &slots_->pages[page]);
    if (trick != Trick::kRegisteredLate) hand_out(page);
    return slot;
  }

  void detach(uint32_t slot) {
    Detached& left = detached_[detached_count_++];
    left.page = page_of_[slot];
    const uint64_t too_early =
        trick == Trick::kQuietPointsReadFirst ? quiet_points_passed(*slots_) : 0;
    left.quiet_points = leave_slot(*slots_, slot);
    if (trick == Trick::kQuietPointsReadFirst) left.quiet_points = too_early;
    taken_[slot] = false;
  }

  void collect() {
    if (detached_count_ == 0) return;
    const uint64_t passed = quiet_points_passed(*slots_);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < detached_count_; ++i) {
      if (detached_[i].quiet_points == passed && trick != Trick::kFreedAtOnce) {
        detached_[kept++] = detached_[i];
      } else {
        slots_->pages[detached_[i].page].mapped($) = 0;
      }
    }
    detached_count_ = kept;
  }

 private:
  struct Detached {
    uint32_t page;
    uint64_t quiet_points;
  };

  Slots<S, page_count>* slots_ = nullptr;
  bool taken_[S::kSlots + 1] = {};
  uint32_t page_of_[S::kSlots] = {};
  uint32_t pages_used_ = 0;
  Detached detached_[page_count];
  uint32_t detached_count_ = 0;
};

}  // namespace ebpf::model

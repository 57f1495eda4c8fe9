// SPDX-License-Identifier: Apache-2.0
// The shared memory of the ring in small, and the accessors through which the real
// protocol code reaches it: LaneProtocol, pin_protocol.h, slot_protocol.h.
#pragma once

#include <memory>

#include "consumer/pin_protocol.h"
#include "producer/lane_protocol.h"
#include "producer/slot_protocol.h"
#include "tests/model/words.h"

namespace ebpf::model {

constexpr uint32_t kRecordBytes = 8;

// What a record says: nothing that any other record says.
inline uint64_t record_value(uint32_t lane, uint64_t seq) { return seq << 8 | lane; }

template <uint32_t lanes, uint32_t window, uint32_t slots, uint32_t records_per_segment>
struct Shape {
  static constexpr uint32_t kLanes = lanes;
  static constexpr uint32_t kWindow = window;
  static constexpr uint32_t kSlots = slots;
  static constexpr uint32_t kPerSegment = records_per_segment;
  static constexpr uint32_t kRoom = records_per_segment * kRecordBytes;
  static constexpr uint32_t kDirEntries = 4;
  static_assert(kDirEntries > kWindow);
  // What the proof needs. The real pool has one block more for each lane.
  static constexpr uint32_t kBlocks = lanes * window + slots * lanes;
};

template <class S>
struct Ring {
  Word generation[S::kBlocks];
  Word first_seq[S::kBlocks];
  Word committed[S::kBlocks];
  rl::var<uint64_t> records[S::kBlocks][S::kPerSegment];
  Word head[S::kLanes];
  Word published_seq[S::kLanes];
  Word dir[S::kLanes][S::kDirEntries];
  Word state;

  // The truth, for assertions.
  uint64_t retired[S::kLanes] = {};  // segments

  void init() {
    for (uint32_t block = 0; block < S::kBlocks; ++block) {
      generation[block].init("generation", 0);
      first_seq[block].init("first_seq", 0);
      committed[block].init("committed", 0);
    }
    for (uint32_t lane = 0; lane < S::kLanes; ++lane) {
      head[lane].init("head", 0);
      published_seq[lane].init("published_seq", 0);
      for (Word& entry : dir[lane]) entry.init("dir", 0);
    }
    state.init("state", EBPF_RING_RUNNING);
  }
};

template <class S>
struct ControlPage {
  Word sleeping;
  Word pin[S::kLanes];
  Socket socket;
  // 1 while the producer has it mapped. Every look into the page reads it, freeing it
  // writes it: a look that is not ordered before the freeing is a data race.
  rl::var<uint64_t> mapped;
  bool woken_before = false;  // drain thread
  bool rang_in_vain = false;  // drain thread

  void init() {
    sleeping.init("sleeping", EBPF_AWAKE);
    for (Word& word : pin) word.init("pin", 0);
    socket.init();
    mapped($) = 1;
  }
};

// The consumers' slots as producer/slot_protocol.h reaches them.
template <class S, uint32_t page_count>
class Slots {
 public:
  using Page = ControlPage<S>*;

  class Current {
   public:
    Current(Word& word, ControlPage<S>* pages) : handle_(word), pages_(pages) {}
    Page load_seq_cst(Where where = Where::current()) const {
      const uint64_t index = handle_.load_seq_cst(where);
      return index != 0 ? pages_ + (index - 1) : nullptr;
    }
    void store_seq_cst(Page page, Where where = Where::current()) const {
      handle_.store_seq_cst(page != nullptr ? page - pages_ + 1 : 0, where);
    }

   private:
    Handle handle_;
    ControlPage<S>* pages_;
  };

  void init() {
    for (Word& word : current_) word.init("current", 0);
    quiet_points_.init("quiet_points", 0);
    for (ControlPage<S>& page : pages) page.init();
    stored_since_barrier_ = 0;
  }

  uint32_t slot_count() const { return S::kSlots; }
  uint32_t lane_count() const { return S::kLanes; }
  Current current(uint32_t slot) { return {current_[slot], pages}; }
  Handle quiet_points() { return Handle(quiet_points_); }
  Handle pin(Page page, uint32_t lane) {
    if (trick == Trick::kQuietPointWhileScanning) pass_quiet_point(*this);
    return look(page, page->pin[lane]);
  }
  Handle sleeping(Page page) { return look(page, page->sleeping); }

  void full_barrier() {
    rl::ctx().sched();
    if (trick != Trick::kNoBarrier && trick != Trick::kSeqCstInsteadOfBarrier) {
      for (uint32_t i = 0; i < stored_since_barrier_; ++i) stored_[i]->order_by_fence();
    }
    stored_since_barrier_ = 0;
  }
  // The drain thread has stored to this word.
  void note_store(Word* word) {
    for (uint32_t i = 0; i < stored_since_barrier_; ++i) {
      if (stored_[i] == word) return;
    }
    stored_[stored_since_barrier_++] = word;
  }

  ControlPage<S> pages[page_count];

 private:
  Handle look(Page page, Word& word) {
    RL_ASSERT(page->mapped($) == 1);
    return Handle(word);
  }

  Word current_[S::kSlots];
  Word quiet_points_;
  Word* stored_[3 * S::kBlocks + 6 * S::kLanes + 1];
  uint32_t stored_since_barrier_ = 0;
};

// The memory of producer/lane_protocol.h. LaneProtocol keeps a copy of it over many
// executions, so it holds nothing itself.
template <class S, uint32_t page_count>
class WriterMemory {
 public:
  struct Shared {
    Ring<S>* ring;
    Slots<S, page_count>* slots;
    // A store that a trick holds back, with the site that it belongs to.
    Word* held = nullptr;
    uint64_t held_value = 0;
    const Site* held_site = nullptr;
  };
  static inline Shared shared;

  struct Atomics {
    static void store_relaxed(Word* word, uint64_t value, Where where = Where::current()) {
      store(word, value, sites.at(where, word->name(), Op::kStoreRelaxed));
    }
    static void store_release(Word* word, uint64_t value, Where where = Where::current()) {
      store(word, value, sites.at(where, word->name(), Op::kStoreRelease));
    }
    static void store_seq_cst(Word* word, uint64_t value, Where where = Where::current()) {
      store(word, value, sites.at(where, word->name(), Op::kStoreSeqCst));
    }

   private:
    static void store(Word* word, uint64_t value, const Site& site) {
      if (is_held_back(word, value)) {
        shared.held = word;
        shared.held_value = value;
        shared.held_site = &site;
        return;
      }
      perform(word, value, site);
      if (releases_held(word)) release_held();
    }
  };

  Word* generation(uint32_t block) const { return &shared.ring->generation[block]; }
  Word* first_seq(uint32_t block) const { return &shared.ring->first_seq[block]; }
  Word* committed(uint32_t block) const { return &shared.ring->committed[block]; }
  Word* head(uint32_t lane) const { return &shared.ring->head[lane]; }
  Word* published_seq(uint32_t lane) const { return &shared.ring->published_seq[lane]; }
  Word* dir(uint32_t lane, uint64_t segment) const {
    return &shared.ring->dir[lane][segment % S::kDirEntries];
  }
  template <class Visit>
  void each_pin(Visit&& visit) const {
    if (trick != Trick::kScanIgnoresPins) scan_pins(*shared.slots, visit);
    if (trick == Trick::kRetireAfterScan) release_held();
  }

 private:
  static bool is(const Word* word, const char* name) {
    return std::strcmp(word->name(), name) == 0;
  }

  static bool is_held_back(const Word* word, uint64_t value) {
    switch (trick) {
      case Trick::kRetireAfterScan:
        return is(word, "generation") && value == 0;
      case Trick::kGenerationAfterHead:
        return is(word, "generation") && value != 0;
      case Trick::kDirAfterHead:
        return is(word, "dir");
      case Trick::kResetAfterHead:
        return is(word, "first_seq");
      case Trick::kPublishedSeqAfterCommitted:
        return is(word, "published_seq");
      default:
        return false;
    }
  }

  static bool releases_held(const Word* word) {
    switch (trick) {
      case Trick::kGenerationAfterHead:
      case Trick::kDirAfterHead:
      case Trick::kResetAfterHead:
        return is(word, "head");
      case Trick::kPublishedSeqAfterCommitted:
        return is(word, "committed");
      default:
        return false;
    }
  }

  static void release_held() {
    if (shared.held != nullptr) perform(shared.held, shared.held_value, *shared.held_site);
    shared.held = nullptr;
  }

  static void perform(Word* word, uint64_t value, const Site& site) {
    if (value == 0 && is(word, "generation")) {
      const uint64_t was = word->latest();
      shared.ring->retired[was & 0xff] = was >> 8;
    }
    word->store(site, value);
    shared.slots->note_store(word);
  }
};

// One lane for one consumer, as consumer/pin_protocol.h reaches it.
template <class S>
class LaneWords {
 public:
  LaneWords(Ring<S>& ring, uint32_t lane, ControlPage<S>& page, Fuse& fuse, const LanePosition& at)
      : ring_(&ring), page_(&page), fuse_(&fuse), at_(&at), lane_(lane) {}

  class Generation {
   public:
    Generation(Handle handle, uint64_t wanted) : handle_(handle), wanted_(wanted) {}
    uint64_t load_seq_cst(Where where = Where::current()) const {
      return trick == Trick::kNoGenerationCheck ? wanted_ : handle_.load_seq_cst(where);
    }

   private:
    Handle handle_;
    uint64_t wanted_;
  };

  Handle head() const { return handle(ring_->head[lane_]); }
  Handle published_seq() const { return handle(ring_->published_seq[lane_]); }
  Handle dir(uint32_t index) const { return handle(ring_->dir[lane_][index]); }
  Generation generation(uint32_t block) const {
    return {handle(ring_->generation[block]), ebpf_generation(lane_, at_->segment)};
  }
  Handle first_seq(uint32_t block) const { return handle(ring_->first_seq[block]); }
  Handle committed(uint32_t block) const { return handle(ring_->committed[block]); }
  Handle pin() const { return handle(page_->pin[lane_]); }

  uint64_t record(uint32_t block, uint32_t offset) const {
    fuse_->burn();
    return ring_->records[block][offset / kRecordBytes]($);
  }

 private:
  Handle handle(Word& word) const { return Handle(word, fuse_); }

  Ring<S>* ring_;
  ControlPage<S>* page_;
  Fuse* fuse_;
  const LanePosition* at_;
  uint32_t lane_;
};

}  // namespace ebpf::model

// SPDX-License-Identifier: Apache-2.0
// Shared words, the barrier, futex and doorbell, as the model checker sees them.
//
// Relacy knows C++11. Two things are corrected by way of its bookkeeping: a plain store by
// the same thread no longer continues a release sequence (C++20), and a seq_cst fence
// orders the stores before it against seq_cst loads, not only against other fences.
#pragma once

#include "tests/model/orders.h"

namespace ebpf::model {

using Where = std::source_location;

// Relacy keeps its record of a word's stores private.
template <class Tag, typename Tag::Type member>
struct Expose {
  friend typename Tag::Type exposed(Tag) { return member; }
};
struct RecordOf {
  using Type = rl::atomic_data* rl::generic_atomic<uint64_t, false>::*;
  friend Type exposed(RecordOf);
};
template struct Expose<RecordOf, &rl::generic_atomic<uint64_t, false>::impl_>;

// What depends on the number of threads; set by the scenario before anything runs.
struct Bookkeeping {
  void (*end_release_sequence)(rl::atomic_data*);
  void (*order_by_fence)(rl::atomic_data*);

  template <rl::thread_id_t threads>
  static Bookkeeping of() {
    return {[](rl::atomic_data* data) {
              for (auto& order : latest<threads>(data).acq_rel_order_) order = 0;
            },
            [](rl::atomic_data* data) { latest<threads>(data).seq_cst_ = true; }};
  }

 private:
  template <rl::thread_id_t threads>
  static auto& latest(rl::atomic_data* data) {
    auto& stores = *static_cast<rl::atomic_data_impl<threads>*>(data);
    return stores.history_[stores.current_index_ % rl::atomic_history_size];
  }
};
inline Bookkeeping bookkeeping;

class Word {
 public:
  void init(const char* name, uint64_t value) {
    name_ = name;
    value_.store(value, rl::mo_relaxed, $);
  }
  const char* name() const { return name_; }

  uint64_t load(Op op, const Where& where) {
    const Site& site = sites.at(where, name_, op);
    return value_.load(site.order, site.info());
  }
  void store(Op op, uint64_t value, const Where& where) {
    store(sites.at(where, name_, op), value);
  }
  void store(const Site& site, uint64_t value) {
    const bool stronger = trick == Trick::kSeqCstInsteadOfBarrier && site.order == rl::mo_release;
    value_.store(value, stronger ? rl::mo_seq_cst : site.order, site.info());
    if (site.order == rl::mo_relaxed) bookkeeping.end_release_sequence(record());
  }
  uint64_t exchange(uint64_t value, const Where& where) {
    const Site& site = sites.at(where, name_, Op::kExchangeSeqCst);
    return value_.exchange(value, site.order, site.info());
  }

  // The truth, for assertions: what was stored last, whoever may see it.
  uint64_t latest() const { return value_.debug_value(); }
  // A fence of the thread that stored last.
  void order_by_fence() { bookkeeping.order_by_fence(record()); }

  // FUTEX_WAIT compares and goes to sleep in one step, with regard to FUTEX_WAKE.
  void futex_wait(uint64_t expected) {
    rl::ctx().sched();
    if (trick != Trick::kFutexWithoutCompare && latest() != expected) return;
    value_.wait(rl::ctx(), false, false, $);
  }
  void futex_wake() {
    rl::ctx().sched();
    value_.wake(rl::ctx(), 1, $);
  }

 private:
  rl::atomic_data* record() { return value_.*exposed(RecordOf{}); }

  const char* name_ = "";
  rl::atomic<uint64_t> value_;
};

// A socket, of which only matters whether messages wait in it.
class Socket {
 public:
  void init() { waiting_.store(0, rl::mo_relaxed, $); }
  void send() {
    waiting_.rmw(rl::rmw_type_t<rl::rmw_type_add>(), uint64_t{1}, rl::mo_acq_rel, $);
    waiting_.wake(rl::ctx(), 1, $);
  }
  void drain() { waiting_.exchange(0, rl::mo_acq_rel, $); }
  void wait_readable() {
    rl::ctx().sched();
    if (waiting_.debug_value() == 0) waiting_.wait(rl::ctx(), false, false, $);
  }

 private:
  rl::atomic<uint64_t> waiting_;
};

// A word as consumer/pin_protocol.h and producer/slot_protocol.h take it. A process that
// may be killed gives its `fuse`: when it burns down, the step is the last one.
struct Killed {};
struct Fuse {
  uint32_t steps_left = 0;  // 0: lives on
  void burn() {
    if (steps_left != 0 && --steps_left == 0) throw Killed{};
  }
};

class Handle {
 public:
  explicit Handle(Word& word, Fuse* fuse = nullptr) : word_(&word), fuse_(fuse) {}

  uint64_t load_relaxed(Where where = Where::current()) const {
    return load(Op::kLoadRelaxed, where);
  }
  uint64_t load_acquire(Where where = Where::current()) const {
    return load(Op::kLoadAcquire, where);
  }
  uint64_t load_seq_cst(Where where = Where::current()) const {
    return load(Op::kLoadSeqCst, where);
  }
  void store_relaxed(uint64_t value, Where where = Where::current()) const {
    store(Op::kStoreRelaxed, value, where);
  }
  void store_release(uint64_t value, Where where = Where::current()) const {
    store(Op::kStoreRelease, value, where);
  }
  void store_seq_cst(uint64_t value, Where where = Where::current()) const {
    store(Op::kStoreSeqCst, value, where);
  }
  uint64_t exchange_seq_cst(uint64_t value, Where where = Where::current()) const {
    if (fuse_ != nullptr) fuse_->burn();
    return word_->exchange(value, where);
  }

 private:
  uint64_t load(Op op, const Where& where) const {
    if (fuse_ != nullptr) fuse_->burn();
    return word_->load(op, where);
  }
  void store(Op op, uint64_t value, const Where& where) const {
    if (fuse_ != nullptr) fuse_->burn();
    word_->store(op, value, where);
  }

  Word* word_;
  Fuse* fuse_;
};

}  // namespace ebpf::model

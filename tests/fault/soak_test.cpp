// SPDX-License-Identifier: Apache-2.0
// Everything at once, for as long as EBPF_SOAK_SECONDS says: consumers that are slow, stand
// still, die and come back in random order, and the account of everybody checked all the time.
#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr size_t kWitness = 0;
constexpr size_t kFirstOther = 1;
constexpr size_t kOthers = 4;

class Soak {
 public:
  explicit Soak(Dice& dice) : dice_(dice), witness_(stage_.witness(kWitness)) {
    for (size_t i = 0; i < kOthers; ++i) start(i);
  }

  // One thing happens, and everybody still adds up.
  void step() {
    stage_.publish(dice_.between(1, 4000));
    const size_t index = dice_.below(kOthers);
    switch (dice_.below(8)) {
      case 0:
        return kill_one(index);
      case 1:
        return stop_one(index);
      case 2:
      case 3:
        return change_pace(index);
      default:
        usleep(static_cast<useconds_t>(dice_.below(5000)));
    }
    settle();
  }

  // Everybody goes on and catches up: each account against what was published.
  void settle() {
    stage_.wait_all_told(kWitness);
    for (size_t i = 0; i < kOthers; ++i) stage_.expect_sound(kFirstOther + i);
  }
  void settle_all() {
    for (size_t i = 0; i < kOthers; ++i) {
      others_[i].cont();
      report(i).slow_every = 0;
    }
    settle();
    for (size_t i = 0; i < kOthers; ++i) {
      const Report& one = report(i);
      EXPECT_TRUE(within_us(kPatienceUs,
                            [&] {
                              return one.unread == 0 && one.published == one.delivered + one.lost &&
                                     one.next_seq == stage_.board->published;
                            }))
          << "consumer " << i << ": " << one.delivered << " delivered, " << one.lost << " lost, "
          << one.unread << " unread of " << one.published;
      stage_.expect_sound(kFirstOther + i);
    }
    told_ = stage_.board->reports[kWitness].delivered;
  }
  uint64_t told() const { return told_; }
  uint64_t kills() const { return kills_; }
  uint64_t stops() const { return stops_; }

 private:
  Report& report(size_t index) { return stage_.board->reports[kFirstOther + index]; }

  void start(size_t index) {
    clear(report(index));
    // From the oldest, so that it has something to tell at once.
    others_[index] = stage_.consumer(kFirstOther + index, EBPF_FROM_OLDEST);
  }
  static void clear(Report& one) {
    for (Word* word : {&one.opened, &one.delivered, &one.lost, &one.gaps, &one.restarts,
                       &one.next_seq, &one.epoch, &one.epoch_delivered, &one.unread, &one.published,
                       &one.inside, &one.error, &one.done}) {
      *word = 0;
    }
  }

  void kill_one(size_t index) {
    ++kills_;
    others_[index].kill9();
    EXPECT_TRUE(stage_.wait_attached(kOthers, 1'000'000)) << "a slot is not free after a second";
    start(index);
    // What it joins behind is not its own.
    stage_.wait_all_told(kWitness);
  }
  void stop_one(size_t index) {
    ++stops_;
    others_[index].stop();
    stage_.publish(stage_.board->window * dice_.between(1, 4));
    stage_.wait_all_told(kWitness);
    others_[index].cont();
  }
  void change_pace(size_t index) {
    report(index).slow_us = dice_.below(3000);
    report(index).slow_every = dice_.below(2) == 0 ? 0 : dice_.between(1, 100);
  }

  Dice& dice_;
  Stage stage_;
  Process witness_;
  Process others_[kOthers];
  uint64_t told_ = 0;
  uint64_t kills_ = 0;
  uint64_t stops_ = 0;
};

TEST(Soak, EveryAccountAddsUpAllTheTime) {
  Dice dice;
  Soak soak(dice);
  const uint64_t end_us = now_us() + env_number("EBPF_SOAK_SECONDS", 5) * 1'000'000;
  uint64_t steps = 0;
  for (; now_us() < end_us && !HasFailure(); ++steps) {
    SCOPED_TRACE(round_text(dice, steps));
    soak.step();
    if (steps % 100 == 99) soak.settle_all();
  }
  soak.settle_all();
  printf("%" PRIu64 " steps, %" PRIu64 " records, %" PRIu64 " consumers killed, %" PRIu64
         " stopped\n",
         steps, soak.told(), soak.kills(), soak.stops());
}

}  // namespace
}  // namespace ebpf::fault

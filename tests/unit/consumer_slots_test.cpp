// SPDX-License-Identifier: Apache-2.0
#include "producer/consumer_slots.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "libebpf/control.h"
#include "ring_support.h"

namespace ebpf {
namespace {

// The two ends of a consumer's connection.
struct Link {
  Link() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    producer = UniqueFd(ends[0]);
    consumer = UniqueFd(ends[1]);
  }
  // Takes one packet; whether it was a good doorbell.
  bool rang() const {
    ebpf_msg_header header{};
    const ssize_t bytes = recv(consumer.get(), &header, sizeof(header), MSG_DONTWAIT | MSG_TRUNC);
    return bytes == sizeof(header) && header.magic == EBPF_MSG_MAGIC &&
           header.version == EBPF_PROTOCOL_VERSION && header.type == EBPF_MSG_DOORBELL &&
           header.length_bytes == sizeof(header) && header.reserved == 0;
  }
  UniqueFd producer, consumer;
};

struct Consumer {
  explicit Consumer(ConsumerSlots& slots, ConsumerInfo info = {}) {
    auto attached = slots.attach(link.producer.get(), info);
    if (!attached) {
      ADD_FAILURE() << attached.error().message;
      return;
    }
    id = attached->id;
    control_fd = std::move(attached->control_fd);
    page = std::make_unique<ControlPage>(control_fd.get());
  }
  ebpf_control_page* operator->() const { return page->get(); }
  Link link;
  uint32_t id = 0;
  UniqueFd control_fd;
  std::unique_ptr<ControlPage> page;
};

size_t control_mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("libebpf-control") != std::string::npos) ++count;
  }
  return count;
}

std::vector<uint32_t> pins_of(const ConsumerSlots& slots) {
  std::vector<uint32_t> pins;
  slots.each_pin([&](uint32_t block) { pins.push_back(block); });
  return pins;
}

// ---- attach and detach ------------------------------------------------------------

TEST(ConsumerSlots, HandOutAPreparedPageOfFixedSize) {
  ConsumerSlots slots(4, 3, 99);
  Consumer consumer(slots);
  EXPECT_EQ(consumer->magic, EBPF_CONTROL_MAGIC);
  EXPECT_EQ(consumer->layout_version, EBPF_RING_LAYOUT_VERSION);
  EXPECT_EQ(consumer->lane_count, 3u);
  EXPECT_EQ(consumer->epoch, 99u);
  EXPECT_EQ(consumer->sleeping, EBPF_AWAKE);
  EXPECT_EQ(consumer->lanes[2].pin, 0u);

  const int fd = consumer.control_fd.get();
  struct stat about {};
  ASSERT_EQ(fstat(fd, &about), 0);
  EXPECT_EQ(about.st_size, EBPF_CONTROL_BYTES);
  EXPECT_EQ(about.st_mode & 07777, 0600u);
  EXPECT_EQ(ftruncate(fd, 0), -1) << "a shorter page would be a SIGBUS in the producer";
  EXPECT_EQ(ftruncate(fd, 1 << 20), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST(ConsumerSlots, SurviveAHoleInThePage) {
  ConsumerSlots slots(4, 1, 1);
  Consumer consumer(slots);
  shm_exchange_seq_cst_u32(&consumer->lanes[0].pin, 5);
  EXPECT_EQ(pins_of(slots), std::vector<uint32_t>{4});
  ASSERT_EQ(fallocate(consumer.control_fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                      EBPF_CONTROL_BYTES),
            0);
  EXPECT_TRUE(pins_of(slots).empty());
  EXPECT_FALSE(slots.wake_sleepers(1));
}

TEST(ConsumerSlots, RefuseMoreThanThereAreAndReuseAtOnce) {
  ConsumerSlots slots(2, 1, 1);
  Consumer a(slots), b(slots);
  Link link;
  auto refused = slots.attach(link.producer.get(), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EUSERS);
  EXPECT_EQ(refused.error().message, "all 2 consumer slots are taken");
  const uint64_t published = 0;
  slots.detach(a.id, &published);
  EXPECT_EQ(slots.count(), 1u);
  Consumer c(slots);
  EXPECT_NE(c.id, a.id);
  EXPECT_NE(c.id, b.id);
  EXPECT_EQ(slots.count(), 2u);
}

TEST(ConsumerSlots, KeepWhatWasDetachedUntilTheDrainThreadHasPassed) {
  ConsumerSlots slots(2, 1, 1);
  const size_t before = control_mappings();
  const uint64_t published = 0;
  uint32_t id = 0;
  {
    Consumer consumer(slots);
    id = consumer.id;
  }
  EXPECT_EQ(control_mappings(), before + 1);
  slots.detach(id, &published);
  slots.collect();
  EXPECT_EQ(control_mappings(), before + 1);
  slots.quiet_point();
  slots.collect();
  EXPECT_EQ(control_mappings(), before);
}

TEST(ConsumerSlots, DoNotPileUpWhatADrainThreadThatIsStuckCannotFree) {
  ConsumerSlots slots(2, 1, 1);
  const uint64_t published = 0;
  Link link;
  int attached = 0;
  int error = 0;
  for (int i = 0; i < 1000 && error == 0; ++i) {
    auto one = slots.attach(link.producer.get(), {});
    if (one) {
      ++attached;
      slots.detach(one->id, &published);
    } else {
      error = one.error().code;
    }
  }
  EXPECT_EQ(error, EAGAIN);
  EXPECT_LE(attached, 200);
  slots.quiet_point();
  EXPECT_TRUE(slots.attach(link.producer.get(), {}));
}

TEST(ConsumerSlots, LeakNothingOverAThousandAttachments) {
  ConsumerSlots slots(4, 1, 1);
  const size_t descriptors = open_descriptors();
  const size_t mappings = control_mappings();
  const uint64_t published = 0;
  for (int i = 0; i < 1000; ++i) {
    Consumer consumer(slots);
    slots.detach(consumer.id, &published);
    slots.quiet_point();
  }
  slots.collect();
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(control_mappings(), mappings);
  EXPECT_EQ(slots.count(), 0u);
}

TEST(ConsumerSlots, ListWhoIsThere) {
  ConsumerSlots slots(4, 1, 1);
  ConsumerInfo info;
  info.pid = 12;
  info.uid = 34;
  std::strcpy(info.name, "agent");
  Consumer consumer(slots, info);
  const auto list = slots.list();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].id, consumer.id);
  EXPECT_EQ(list[0].pid, 12);
  EXPECT_EQ(list[0].uid, 34u);
  EXPECT_STREQ(list[0].name, "agent");
}

TEST(ConsumerSlots, LetBothThreadsWorkAtOnce) {
  ConsumerSlots slots(4, 2, 1);
  std::atomic<bool> stop{false};
  std::thread drain([&] {
    uint64_t now_us = 1;
    while (!stop.load(std::memory_order_relaxed)) {
      pins_of(slots);
      slots.wake_sleepers(now_us += 100);
      slots.quiet_point();
    }
  });
  const uint64_t published[2] = {};
  std::mt19937 random(1);
  Link link;
  int attached = 0;
  while (attached < 2000) {
    auto one = slots.attach(link.producer.get(), {});
    if (!one) {  // the drain thread has not run for a while
      ASSERT_EQ(one.error().code, EAGAIN);
      std::this_thread::yield();
      continue;
    }
    ++attached;
    const ControlPage page(one->control_fd.get());
    shm_exchange_seq_cst_u32(&page->lanes[0].pin, static_cast<uint32_t>(random()));
    shm_store_seq_cst_u32(&page->sleeping, random() % 4);
    slots.detach(one->id, published);
    slots.collect();
  }
  stop = true;
  drain.join();
  EXPECT_EQ(slots.count(), 0u);
}

// ---- pins -------------------------------------------------------------------------

TEST(ConsumerSlots, ShowEveryPinOfEveryLane) {
  ConsumerSlots slots(4, 2, 1);
  Consumer a(slots), b(slots);
  shm_exchange_seq_cst_u32(&a->lanes[0].pin, 1);
  shm_exchange_seq_cst_u32(&a->lanes[1].pin, 11);
  shm_exchange_seq_cst_u32(&b->lanes[1].pin, UINT32_MAX);
  shm_exchange_seq_cst_u32(&b->lanes[2].pin, 7);  // no such lane
  EXPECT_EQ(pins_of(slots), (std::vector<uint32_t>{0, 10, UINT32_MAX - 1}));
  const uint64_t published[2] = {};
  slots.detach(a.id, published);
  EXPECT_EQ(pins_of(slots), std::vector<uint32_t>{UINT32_MAX - 1});
}

// ---- positions --------------------------------------------------------------------

TEST(ConsumerSlots, CountWhatAConsumerHadNotRead) {
  ConsumerSlots slots(4, 3, 1);
  const uint64_t published[3] = {100, 200, 300};
  Consumer consumer(slots);
  consumer->lanes[0].next_seq = 90;
  consumer->lanes[1].next_seq = 200;  // lane 2: never joined
  EXPECT_EQ(slots.detach(consumer.id, published), 10u);
  EXPECT_EQ(slots.detach(consumer.id, published), 0u) << "only once";
}

TEST(ConsumerSlots, DoNotBelieveAnImpossiblePosition) {
  ConsumerSlots slots(4, 1, 1);
  const uint64_t initial = UINT64_MAX - 9;
  const uint64_t published = initial + 20;  // wrapped
  const auto left_after = [&](uint64_t next_seq) {
    Consumer consumer(slots);
    consumer->lanes[0].next_seq = next_seq;
    const uint64_t left = slots.detach(consumer.id, &published, initial);
    slots.quiet_point();
    return left;
  };
  EXPECT_EQ(left_after(initial), 20u);
  EXPECT_EQ(left_after(published - 1), 1u);
  EXPECT_EQ(left_after(published), 0u);
  EXPECT_EQ(left_after(published + 1), 0u) << "ahead of the producer";
  EXPECT_EQ(left_after(initial - 1), 0u) << "before there was anything";
  EXPECT_EQ(left_after(1ull << 63), 0u);
}

TEST(ConsumerSlots, KnowTheFurthestPosition) {
  ConsumerSlots slots(4, 1, 1);
  EXPECT_EQ(slots.furthest(0, 10, 100), 0u);
  {
    Consumer a(slots), b(slots);
    EXPECT_EQ(slots.furthest(0, 10, 100), 0u) << "attached, not joined";
    a->lanes[0].next_seq = 10 + 30;
    b->lanes[0].next_seq = 10 + 20;
    EXPECT_EQ(slots.furthest(0, 10, 100), 30u);
    b->lanes[0].next_seq = 5;
    EXPECT_EQ(slots.furthest(0, 10, 100), 30u);
    const uint64_t published = 10 + 100;
    a->lanes[0].next_seq = 10 + 40;
    slots.detach(a.id, &published, 10);
    EXPECT_EQ(slots.furthest(0, 10, 100), 40u) << "what is gone was read all the same";
    b->lanes[0].next_seq = 10 + 5000;
    EXPECT_EQ(slots.furthest(0, 10, 100), 100u) << "never more than there is";
  }
}

// ---- waking -----------------------------------------------------------------------

TEST(ConsumerSlots, RingTheDoorbellOfWhoSleepsOnIt) {
  ConsumerSlots slots(4, 1, 1);
  Consumer sleeper(slots), awake(slots);
  EXPECT_FALSE(slots.wake_sleepers(1000));
  EXPECT_FALSE(sleeper.link.rang());
  shm_store_seq_cst_u32(&sleeper->sleeping, EBPF_SLEEPS_ON_DOORBELL);
  EXPECT_FALSE(slots.wake_sleepers(2000));
  EXPECT_EQ(sleeper->sleeping, EBPF_AWAKE);
  EXPECT_TRUE(sleeper.link.rang());
  EXPECT_FALSE(sleeper.link.rang()) << "once";
  EXPECT_FALSE(awake.link.rang());
  EXPECT_EQ(slots.wakeups(), 1u);
  EXPECT_EQ(slots.list()[0].wakeups, 1u);
}

TEST(ConsumerSlots, RingTheirOwnDuplicateOfTheSocket) {
  ConsumerSlots slots(4, 1, 1);
  Consumer sleeper(slots);
  Link other;
  // The connection's descriptor is closed, and its number used for something else.
  ASSERT_EQ(dup2(other.producer.get(), sleeper.link.producer.get()), sleeper.link.producer.get());
  shm_store_seq_cst_u32(&sleeper->sleeping, EBPF_SLEEPS_ON_DOORBELL);
  slots.wake_sleepers(1000);
  EXPECT_FALSE(other.rang());
  EXPECT_TRUE(sleeper.link.rang());
}

// However dear a single wake-up was: it comes out of what the consumer left of its share.
TEST(ConsumerSlots, WakeAtOnceWhoSleepsNowAndThen) {
  ConsumerSlots slots(4, 1, 1);
  Consumer sleeper(slots);
  uint64_t now_us = 1'000'000;
  for (int i = 0; i < 10; ++i, now_us += 2 * kWakeIntervalUs) {
    shm_store_seq_cst_u32(&sleeper->sleeping, EBPF_SLEEPS_ON_DOORBELL);
    EXPECT_FALSE(slots.wake_sleepers(now_us)) << "nothing is put off";
    EXPECT_TRUE(sleeper.link.rang()) << i;
  }
}

TEST(ConsumerSlots, WakeAFutexSleeper) {
  ConsumerSlots slots(4, 1, 1);
  Consumer sleeper(slots);
  std::atomic<bool> woken{false};
  std::thread thread([&] {
    shm_store_seq_cst_u32(&sleeper->sleeping, EBPF_SLEEPS_ON_FUTEX);
    const timespec limit{10, 0};
    syscall(SYS_futex, &sleeper->sleeping, FUTEX_WAIT, EBPF_SLEEPS_ON_FUTEX, &limit, nullptr, 0);
    woken = true;
  });
  for (uint64_t now_us = 1000; !woken && now_us < 5'000'000; now_us += 1000) {
    slots.wake_sleepers(now_us);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(woken);
  thread.join();
}

TEST(ConsumerSlots, WakeNobodyMoreOftenThanTheIntervalAllows) {
  ConsumerSlots slots(4, 1, 1);
  Consumer liar(slots);
  uint64_t pending = 0;
  for (uint64_t now_us = 1000; now_us < 2000; ++now_us) {
    shm_store_seq_cst_u32(&liar->sleeping, EBPF_SLEEPS_ON_DOORBELL);
    pending += slots.wake_sleepers(now_us);
    (void)liar.link.rang();
  }
  EXPECT_LE(slots.wakeups(), 1000 / kWakeIntervalUs);
  EXPECT_GE(slots.wakeups(), 2u);
  EXPECT_EQ(pending, 1000 - slots.wakeups()) << "told that some wake-up is due";

  // What was held back is not forgotten.
  EXPECT_FALSE(slots.wake_sleepers(3000));
  EXPECT_TRUE(liar.link.rang());
}

// All liars together get their share of the thread's time, and no more.
TEST(ConsumerSlots, SpendABoundedShareOfTimeOnWakeUps) {
  constexpr size_t kLiars = 12;
  ConsumerSlots slots(kLiars, 1, 1);
  std::vector<std::unique_ptr<Consumer>> liars;
  for (size_t i = 0; i < kLiars; ++i) liars.push_back(std::make_unique<Consumer>(slots));
  const auto cpu_ns = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  };
  uint64_t spent_ns = 0;
  constexpr uint64_t kSpanUs = 200'000;
  for (uint64_t now_us = 1000; now_us < 1000 + kSpanUs; now_us += 25) {
    for (const auto& liar : liars) {
      shm_store_seq_cst_u32(&(*liar)->sleeping, EBPF_SLEEPS_ON_DOORBELL);
    }
    const uint64_t before = slots.wakeups();
    const uint64_t began_ns = cpu_ns();
    slots.wake_sleepers(now_us);
    if (slots.wakeups() != before) spent_ns += cpu_ns() - began_ns;
  }
  EXPECT_GE(slots.wakeups(), kLiars * 10) << "but nobody is forgotten";
  EXPECT_LT(spent_ns, kSpanUs * 1000 / 8) << "of " << kSpanUs * 1000;
}

TEST(ConsumerSlots, NeverWaitForAFullSocket) {
  ConsumerSlots slots(4, 1, 1);
  Consumer deaf(slots);
  uint64_t now_us = 1000;
  for (int i = 0; i < 2000; ++i) {
    shm_store_seq_cst_u32(&deaf->sleeping, EBPF_SLEEPS_ON_DOORBELL);
    EXPECT_FALSE(slots.wake_sleepers(now_us += 1000));
  }
  EXPECT_TRUE(deaf.link.rang()) << "readable: that is what a doorbell is for";
}

TEST(ConsumerSlots, IgnoreASleepWordThatMeansNothing) {
  ConsumerSlots slots(4, 1, 1);
  Consumer strange(slots);
  shm_store_seq_cst_u32(&strange->sleeping, 0xdeadbeef);
  EXPECT_FALSE(slots.wake_sleepers(1000));
  EXPECT_EQ(strange->sleeping, EBPF_AWAKE);
  EXPECT_FALSE(strange.link.rang());
}

TEST(ConsumerSlots, SurviveADoorbellThatNobodyAnswers) {
  ConsumerSlots slots(4, 1, 1);
  Consumer gone(slots);
  gone.link.consumer.reset();
  shm_store_seq_cst_u32(&gone->sleeping, EBPF_SLEEPS_ON_DOORBELL);
  EXPECT_FALSE(slots.wake_sleepers(1000));
}

// A consumer that follows the rules, without a safety net: if a wake-up were lost, it would
// sleep for ever, and the test would run into its limit.
TEST(ConsumerSlots, LoseNoWakeUp) {
  constexpr uint64_t kRounds = 20'000;
  ConsumerSlots slots(4, 1, 1);
  Consumer sleeper(slots);
  alignas(64) uint64_t committed = 0;
  alignas(64) uint64_t seen = 0;
  std::atomic<bool> lost{false};
  std::thread thread([&] {
    while (shm_load_relaxed_u64(&seen) < kRounds && !lost) {
      if (shm_load_acquire_u64(&committed) > seen) {
        shm_store_release_u64(&seen, seen + 1);
        continue;
      }
      shm_store_seq_cst_u32(&sleeper->sleeping, EBPF_SLEEPS_ON_FUTEX);
      if (shm_load_seq_cst_u64(&committed) == seen) {
        const timespec limit{5, 0};
        const long result = syscall(SYS_futex, &sleeper->sleeping, FUTEX_WAIT, EBPF_SLEEPS_ON_FUTEX,
                                    &limit, nullptr, 0);
        if (result != 0 && errno == ETIMEDOUT) lost = true;
      }
      shm_store_relaxed_u32(&sleeper->sleeping, EBPF_AWAKE);
    }
  });
  uint64_t now_us = 1000;
  for (uint64_t round = 1; round <= kRounds && !lost; ++round) {
    shm_store_release_u64(&committed, round);
    slots.wake_sleepers(now_us += 10);
    while (shm_load_acquire_u64(&seen) < round && !lost) slots.wake_sleepers(now_us += 10);
  }
  thread.join();
  EXPECT_FALSE(lost);
  EXPECT_EQ(seen, kRounds);
}

TEST(ConsumerSlots, WakeEverybodyWhenTheyEnd) {
  std::thread thread;
  {
    ConsumerSlots slots(4, 1, 1);
    auto sleeper = std::make_shared<Consumer>(slots);
    thread = std::thread([sleeper] {
      shm_store_seq_cst_u32(&(*sleeper)->sleeping, EBPF_SLEEPS_ON_FUTEX);
      const timespec limit{20, 0};
      syscall(SYS_futex, &(*sleeper)->sleeping, FUTEX_WAIT, EBPF_SLEEPS_ON_FUTEX, &limit, nullptr,
              0);
    });
    while (shm_load_seq_cst_u32(&(*sleeper)->sleeping) == EBPF_AWAKE) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto begin = std::chrono::steady_clock::now();
  thread.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace ebpf

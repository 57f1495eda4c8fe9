// SPDX-License-Identifier: Apache-2.0
// The C ABI against real producers in processes of their own, and against servers that do
// what a producer must not.
#include <fcntl.h>
#include <grp.h>
#include <sys/time.h>
#include <sys/un.h>

#include <thread>

#include "libebpf/consumer.h"
#include "libebpf/control.h"
#include "tests/unit/consumer_client.h"
#include "tests/unit/consumer_producer.h"

namespace ebpf {
namespace {

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

// ---- what a caller may get wrong --------------------------------------------------------

TEST(ConsumerApi, RefusesOptionsThatCannotBeMeant) {
  int (*const on_record)(const ebpf_record*, uint32_t, void*) = [](const ebpf_record*, uint32_t,
                                                                   void*) { return 0; };
  struct Case {
    const char* says;
    void (*spoil)(ebpf_consumer_options&);
  };
  const Case cases[] = {
      {"options.size is 0", [](ebpf_consumer_options& o) { o.size = 0; }},
      {"options.size is 71", [](ebpf_consumer_options& o) { o.size = 71; }},
      {"options.size is 64", [](ebpf_consumer_options& o) { o.size = 64; }},
      {"options.size is 76", [](ebpf_consumer_options& o) { o.size = 76; }},
      {"options.size is", [](ebpf_consumer_options& o) { o.size = SIZE_MAX; }},
      {"on_record is NULL", [](ebpf_consumer_options& o) { o.on_record = nullptr; }},
      {"options.from is 3", [](ebpf_consumer_options& o) { o.from = 3; }},
      {"position_count is 0", [](ebpf_consumer_options& o) { o.from = EBPF_FROM_RESUME; }},
      {"EBPF_FROM_RESUME only", [](ebpf_consumer_options& o) { o.position_count = 1; }},
      {"position_count is 65",
       [](ebpf_consumer_options& o) {
         static const ebpf_position positions[65] = {};
         o.from = EBPF_FROM_RESUME;
         o.positions = positions;
         o.position_count = 65;
       }},
      {"positions[1] is lane 3 of epoch 7",
       [](ebpf_consumer_options& o) {
         static const ebpf_position positions[2] = {{7, 0, 0, 0, 3}, {7, 0, 0, 0, 3}};
         o.from = EBPF_FROM_RESUME;
         o.positions = positions;
         o.position_count = 2;
       }},
      {"positions[1] is lane 4 of epoch 8",
       [](ebpf_consumer_options& o) {
         static const ebpf_position positions[2] = {{7, 0, 0, 0, 3}, {8, 0, 0, 0, 4}};
         o.from = EBPF_FROM_RESUME;
         o.positions = positions;
         o.position_count = 2;
       }},
      {"unknown flags: 6", [](ebpf_consumer_options& o) { o.flags = 6; }},
      {"reserved is not 0", [](ebpf_consumer_options& o) { o.reserved = 1; }},
      {"longer than 15", [](ebpf_consumer_options& o) { o.name = "0123456789abcdef"; }},
  };
  for (const Case& one : cases) {
    ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
    options.on_record = on_record;
    one.spoil(options);
    auto* consumer = reinterpret_cast<ebpf_consumer*>(&options);
    EXPECT_EQ(ebpf_consumer_open(&consumer, &options), -EINVAL) << one.says;
    EXPECT_EQ(consumer, nullptr);
    EXPECT_NE(std::strstr(ebpf_last_error(), one.says), nullptr) << ebpf_last_error();
  }
}

TEST(ConsumerApi, TakesANullPointerForAMistake) {
  ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
  ebpf_consumer* consumer = nullptr;
  struct ebpf_consumer_stats stats {};
  EXPECT_EQ(ebpf_consumer_open(nullptr, &options), -EINVAL);
  EXPECT_EQ(ebpf_consumer_open(&consumer, nullptr), -EINVAL);
  EXPECT_EQ(ebpf_consumer_poll(nullptr, 0), -EINVAL);
  EXPECT_EQ(ebpf_consumer_fd(nullptr), -EINVAL);
  EXPECT_EQ(ebpf_consumer_stats(nullptr, &stats), -EINVAL);
  ebpf_consumer_close(nullptr);
}

// A caller built against a later header: what it does not ask for does no harm.
TEST(ConsumerApi, TakesLongerOptionsWhenTheRestAsksForNothing) {
  TempFolder folder;
  struct Later {
    ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
    uint64_t more = 0;
  } later;
  const std::string path = folder / "producer.sock";
  later.options.size = sizeof later;
  later.options.socket_path = path.c_str();
  later.options.on_record = [](const ebpf_record*, uint32_t, void*) { return 0; };
  ebpf_consumer* consumer = nullptr;
  EXPECT_EQ(ebpf_consumer_open(&consumer, &later.options), -ENOENT);
  later.more = 1;
  EXPECT_EQ(ebpf_consumer_open(&consumer, &later.options), -EINVAL);
}

TEST(ConsumerApi, SaysWhyThereIsNobody) {
  TempFolder folder;
  const std::string path = folder / "producer.sock";
  TestConsumer consumer(path);
  EXPECT_EQ(consumer.open(), -ENOENT);
  EXPECT_EQ(ebpf_last_error(), "cannot connect to " + path +
                                   ": No such file or directory (is ebpf-producer running?)");
  {
    UniqueFd stale(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(consumer.open(), -ECONNREFUSED);
  EXPECT_EQ(ebpf_last_error(),
            "cannot connect to " + path + ": Connection refused (is ebpf-producer running?)");
  const std::string long_path = "/" + std::string(200, 'x');
  consumer.options().socket_path = long_path.c_str();
  EXPECT_EQ(consumer.open(), -ENAMETOOLONG);
}

TEST(ConsumerApi, NamesTheGroupWhenAccessIsDenied) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody without access";
  TempFolder folder;
  const std::string path = folder / "producer.sock";
  TestProducer producer(path);
  chmod((folder / ".").c_str(), 0755);
  const pid_t pid = fork();
  if (pid == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    TestConsumer consumer(path);
    if (consumer.open() != -EACCES) _exit(2);
    _exit(std::strstr(ebpf_last_error(), "group libebpf") != nullptr ? 0 : 3);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(ConsumerApi, FindsTheSocketByTheEnvironment) {
  TempFolder folder;
  const std::string path = folder / "producer.sock";
  TestProducer producer(path);
  TestConsumer consumer(path);
  consumer.options().socket_path = nullptr;
  setenv(EBPF_SOCKET_ENV, path.c_str(), 1);
  EXPECT_EQ(consumer.open(), 0) << ebpf_last_error();
  unsetenv(EBPF_SOCKET_ENV);
}

TEST(ConsumerApi, KnowsItsVersionAndStartsWithoutAnError) {
  EXPECT_STREQ(ebpf_version(), LIBEBPF_VERSION);
  std::thread([] { EXPECT_STREQ(ebpf_last_error(), ""); }).join();
}

// ---- reading ----------------------------------------------------------------------------

class Attached : public testing::Test {
 protected:
  TempFolder folder_;
  const std::string path_ = folder_ / "producer.sock";
};

TEST_F(Attached, DeliversEverythingInOrder) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0) << ebpf_last_error();
  for (int round = 0; round < 50; ++round) {
    producer.write(40);
    consumer.poll_until(40 * (round + 1));
  }
  EXPECT_EQ(consumer.seqs, sequence(0, 2000));
  EXPECT_EQ(consumer.torn, 0u);
  EXPECT_TRUE(consumer.gaps.empty());
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.size, sizeof stats);
  EXPECT_EQ(stats.published, 2000u);
  EXPECT_EQ(stats.delivered, 2000u);
  EXPECT_EQ(stats.lane_count, 1u);
  EXPECT_NE(stats.consumer_id, 0u);
  EXPECT_NE(stats.epoch, 0u);
}

TEST_F(Attached, ReadsWhatTheRingStillHolds) {
  TestProducer producer(path_, small_options(), 50);
  TestConsumer oldest(path_, 0, EBPF_FROM_OLDEST);
  TestConsumer tail(path_);
  ASSERT_EQ(oldest.open(), 0);
  ASSERT_EQ(tail.open(), 0);
  oldest.poll_until(50);
  EXPECT_EQ(ebpf_consumer_poll(tail.handle, 0), 0);
  EXPECT_EQ(stats_of(tail.handle).published, 0u);
}

TEST_F(Attached, CountsWhatItWasLapped) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(5000);
  EXPECT_EQ(stats_of(consumer.handle).unread, 5000u);
  while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
  }
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.published, 5000u);
  EXPECT_EQ(stats.unread, 0u);
  EXPECT_GT(stats.lost, 4000u);
  ASSERT_EQ(consumer.gaps.size(), 1u);
  EXPECT_EQ(consumer.gaps[0].gap.count, stats.lost);
  EXPECT_EQ(consumer.gaps[0].gap.cause, EBPF_GAP_LAPPED);
}

TEST_F(Attached, TellsUpstreamLosses) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(3);
  producer.gap(77);
  producer.write(2);
  consumer.poll_until(5);
  ASSERT_EQ(consumer.gaps.size(), 1u);
  EXPECT_EQ(consumer.gaps[0].after_records, 3u);
  EXPECT_EQ(stats_of(consumer.handle).upstream_lost, 77u);
  EXPECT_EQ(stats_of(consumer.handle).published, 5u);
}

TEST_F(Attached, ReadsOnlyTheLanesAskedFor) {
  TestProducer producer(path_, small_options(3));
  TestConsumer consumer(path_);
  consumer.options().lanes = 0b101;
  ASSERT_EQ(consumer.open(), 0);
  EXPECT_EQ(stats_of(consumer.handle).lane_count, 2u);
  producer.write(5, 0);
  producer.write(5, 1);
  producer.write(5, 2);
  consumer.poll_until(10);
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 0), 0);

  TestConsumer beyond(path_);
  beyond.options().lanes = 0b1000;
  EXPECT_EQ(beyond.open(), -EINVAL);
  EXPECT_STREQ(ebpf_last_error(), "the lanes asked for go beyond the producer's, which has 3");
}

TEST_F(Attached, EndsThePollWhenTheCallbackSaysSo) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(20);
  consumer.during = [&] { return consumer.seqs.size() == 7 ? 1 : 0; };
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 1000), 7);
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 1000), 13);
  EXPECT_EQ(consumer.seqs, sequence(0, 20));
}

TEST_F(Attached, RefusesToPollFromInsideACallback) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(3);
  consumer.during = [&] {
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 0), -EBUSY);
    EXPECT_EQ(stats_of(consumer.handle).delivered, consumer.seqs.size());
    return 0;
  };
  consumer.poll_until(3);
}

TEST_F(Attached, ClosesAfterThePollWhenClosedFromInside) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(3);
  const size_t before = open_descriptors();
  consumer.during = [&] {
    ebpf_consumer_close(consumer.handle);
    return 0;
  };
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 1000), 1);
  consumer.handle = nullptr;
  EXPECT_EQ(open_descriptors(), before - 3);  // socket, epoll, timer
}

TEST_F(Attached, FillsStatsAsFarAsTheyReach) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(4);
  consumer.poll_until(4);
  struct ebpf_consumer_stats stats {};
  stats.lost = 4711;
  stats.size = offsetof(struct ebpf_consumer_stats, lost);
  EXPECT_EQ(ebpf_consumer_stats(consumer.handle, &stats), 0);
  EXPECT_EQ(stats.delivered, 4u);
  EXPECT_EQ(stats.lost, 4711u);
  stats.size = 7;
  EXPECT_EQ(ebpf_consumer_stats(consumer.handle, &stats), -EINVAL);
  struct {
    struct ebpf_consumer_stats known;
    uint64_t later;
  } longer{};
  longer.later = 42;
  longer.known.size = sizeof longer;
  EXPECT_EQ(ebpf_consumer_stats(consumer.handle, &longer.known), 0);
  EXPECT_EQ(longer.known.size, sizeof longer.known);
  EXPECT_EQ(longer.later, 42u);
}

TEST_F(Attached, SaysWhenAllSlotsAreTaken) {
  RingOptions options = small_options();
  options.max_consumers = 2;
  TestProducer producer(path_, options);
  TestConsumer first(path_);
  TestConsumer second(path_);
  TestConsumer third(path_);
  ASSERT_EQ(first.open(), 0);
  ASSERT_EQ(second.open(), 0);
  const size_t before = open_descriptors();
  EXPECT_EQ(third.open(), -EUSERS);
  EXPECT_NE(std::strstr(ebpf_last_error(), "2"), nullptr) << ebpf_last_error();
  EXPECT_EQ(open_descriptors(), before);
}

// Faster than one user may join for long: it is told to come back, and does.
TEST_F(Attached, ComesBackToAProducerThatIsBusy) {
  TestProducer producer(path_);
  for (int i = 0; i < 240; ++i) {
    TestConsumer consumer(path_);
    ASSERT_EQ(consumer.open(), 0) << i << ": " << ebpf_last_error();
  }
}

TEST_F(Attached, AKilledConsumerLeavesItsSlot) {
  RingOptions options = small_options();
  options.max_consumers = 1;
  TestProducer producer(path_, options);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    TestConsumer consumer(path_);
    const int result = consumer.open();
    [[maybe_unused]] const ssize_t n = ::write(ready[1], &result, sizeof result);
    for (;;) ebpf_consumer_poll(consumer.handle, 1000);
  }
  int result = -1;
  ASSERT_EQ(::read(ready[0], &result, sizeof result), ssize_t{sizeof result});
  ASSERT_EQ(result, 0);
  TestConsumer consumer(path_);
  EXPECT_EQ(consumer.open(), -EUSERS);
  producer.write(100);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  const uint64_t killed = now_us();
  while (consumer.open() != 0 && now_us() < killed + kPatienceUs) usleep(5000);
  ASSERT_NE(consumer.handle, nullptr);
  producer.write(1000);
  EXPECT_GT(ebpf_consumer_poll(consumer.handle, 1000), 0);
  EXPECT_EQ(consumer.torn, 0u);
  ::close(ready[0]);
  ::close(ready[1]);
}

// ---- sleeping ---------------------------------------------------------------------------

TEST_F(Attached, IsWokenFromABlockingPoll) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  int late = 0;
  for (size_t round = 1; round <= 12; ++round) {
    producer.write_later(1, 10000);
    const uint64_t start = now_us();
    ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 20000), 1);
    // A sleep that nobody ends lasts a slice of 100 ms.
    if (now_us() - start > 80000) ++late;
    producer.wait_written();
  }
  EXPECT_LE(late, 6);
  EXPECT_GE(stats_of(consumer.handle).sleeps, 10u);
}

TEST_F(Attached, IsWokenThroughItsDescriptor) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  const int fd = ebpf_consumer_fd(consumer.handle);
  ASSERT_GE(fd, 0);
  for (size_t round = 1; round <= 50; ++round) {
    ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 0), 0);
    pollfd wait{fd, POLLIN, 0};
    // At rest, once the doorbell for what was read without it has come and gone.
    for (int late = 0; ::poll(&wait, 1, 0) != 0; ++late) {
      ASSERT_LT(late, 2);
      ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 0), 0);
    }
    producer.write_later(3, round % 10 == 0 ? 5000 : 0);
    ASSERT_EQ(::poll(&wait, 1, 20000), 1);
    while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
    }
    producer.wait_written();
    while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
    }
    ASSERT_EQ(consumer.seqs.size(), 3 * round);
  }
}

TEST_F(Attached, SpinsWithoutSleepingWhenAsked) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  consumer.options().spin_us = 20000000;
  ASSERT_EQ(consumer.open(), 0);
  producer.write_later(1, 20000);
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 20000), 1);
  EXPECT_EQ(stats_of(consumer.handle).sleeps, 0u);
  producer.wait_written();
}

TEST_F(Attached, WaitsAsLongAsItWasTold) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  for (const int attached : {1, 0}) {
    const uint64_t start = now_us();
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 250), 0);
    const uint64_t took = now_us() - start;
    EXPECT_GE(took, 249000u) << attached;
    EXPECT_LT(took, kPatienceUs) << attached;
    if (attached) producer.kill9();
  }
}

TEST_F(Attached, ASignalEndsTheWait) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  // Again and again: the first may come before the poll sleeps.
  itimerval timer{};
  timer.it_value.tv_usec = timer.it_interval.tv_usec = 20000;
  const itimerval off{};
  for (const int attached : {1, 0}) {
    setitimer(ITIMER_REAL, &timer, nullptr);
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, -1), -EINTR) << attached;
    setitimer(ITIMER_REAL, &off, nullptr);
    if (attached) producer.kill9();
    if (attached) consumer.poll_until_gaps(1);
  }
}

TEST_F(Attached, AStoppedProducerOnlyMakesItWait) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(10);
  producer.stop();
  consumer.poll_until(10);
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 50), 0);
  TestConsumer other(path_);
  const uint64_t start = now_us();
  EXPECT_EQ(other.open(), -ETIMEDOUT);
  EXPECT_LT(now_us() - start, kPatienceUs);
  producer.cont();
  producer.write(10);
  consumer.poll_until(20);
  EXPECT_TRUE(consumer.gaps.empty());
}

// ---- producers come and go --------------------------------------------------------------

TEST_F(Attached, FindsTheNextProducerAfterAKill) {
  auto producer = std::make_unique<TestProducer>(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  const int fd = ebpf_consumer_fd(consumer.handle);
  const uint64_t first_epoch = stats_of(consumer.handle).epoch;
  for (size_t generation = 1; generation <= 4; ++generation) {
    producer->write(30);
    producer->kill9();
    // Everything that it had published comes before the notice.
    consumer.poll_until_gaps(generation);
    ASSERT_EQ(consumer.seqs.size(), generation * 70 - 40);
    EXPECT_EQ(consumer.gaps.back().gap.cause, EBPF_GAP_RESTART);
    EXPECT_EQ(consumer.gaps.back().gap.count, 0u);
    EXPECT_EQ(consumer.gaps.back().after_records, generation * 70 - 40);
    EXPECT_EQ(stats_of(consumer.handle).epoch, 0u);
    EXPECT_EQ(stats_of(consumer.handle).consumer_id, 0u);
    // What the next one writes before we are back is not missed.
    producer = std::make_unique<TestProducer>(path_, small_options(), 40);
    consumer.poll_until(generation * 70, 1000);
    EXPECT_EQ(ebpf_consumer_fd(consumer.handle), fd);
  }
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.published, 280u);
  EXPECT_EQ(stats.delivered, 280u);
  EXPECT_EQ(stats.lost, 0u);
  EXPECT_EQ(stats.reattaches, 4u);
  EXPECT_GT(stats.epoch, first_epoch);
  EXPECT_EQ(consumer.torn, 0u);
}

TEST_F(Attached, DrainsAProducerThatEndsInGoodOrder) {
  auto producer = std::make_unique<TestProducer>(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer->write(50);
  producer->quit();
  consumer.poll_until_gaps(1);
  EXPECT_EQ(consumer.seqs, sequence(0, 50));
  producer = std::make_unique<TestProducer>(path_, small_options(), 10);
  consumer.poll_until(60, 1000);
  EXPECT_EQ(consumer.gaps.size(), 1u);
}

// It says that it has ended, but still answers: not to be taken for the next one.
TEST_F(Attached, DoesNotJoinAnEndedRingAgain) {
  auto producer = std::make_unique<TestProducer>(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer->write(5);
  producer->end_ring();
  consumer.poll_until_gaps(1);
  EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 350), 0);
  EXPECT_EQ(consumer.gaps.size(), 1u);
  EXPECT_EQ(stats_of(consumer.handle).reattaches, 0u);
  // It asks now and then, and leaves again as soon as it sees that this ring has ended.
  uint32_t attached = 1;
  for (int tries = 0; tries < 200 && attached != 0; ++tries) {
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 10), 0);
    attached = producer->consumers();
  }
  EXPECT_EQ(attached, 0u);
  producer->quit();
  producer = std::make_unique<TestProducer>(path_, small_options(), 5);
  consumer.poll_until(10, 1000);
}

TEST_F(Attached, CountsWhatTheNextProducerLostForItBeforeItCame) {
  auto producer = std::make_unique<TestProducer>(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer->kill9();
  consumer.poll_until_gaps(1);
  producer = std::make_unique<TestProducer>(path_, small_options(), 3000);
  consumer.poll_until_gaps(2);
  while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
  }
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.published, 3000u);
  EXPECT_EQ(consumer.gaps[1].gap.cause, EBPF_GAP_LAPPED);
  EXPECT_EQ(consumer.gaps[1].gap.count, stats.lost);
}

TEST_F(Attached, EndsWithTheProducerWhenAskedTo) {
  for (const bool orderly : {false, true}) {
    TestProducer producer(path_);
    TestConsumer consumer(path_, EBPF_NO_REATTACH);
    ASSERT_EQ(consumer.open(), 0);
    producer.write(50);
    if (orderly) producer.quit();
    producer.kill9();
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 1000), 50);
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 1000), -EPIPE);
    EXPECT_EQ(ebpf_consumer_poll(consumer.handle, 0), -EPIPE);
    EXPECT_STREQ(ebpf_last_error(), orderly
                                        ? "the producer is gone: it ended in good order"
                                        : "the producer is gone: the connection to it was lost");
    EXPECT_EQ(stats_of(consumer.handle).last_end, orderly ? EBPF_END_ORDERLY : EBPF_END_HUNG_UP);
    EXPECT_TRUE(consumer.gaps.empty());
    EXPECT_EQ(stats_of(consumer.handle).published, 50u);
  }
}

// An agent that does nothing but what its descriptor tells it to.
TEST_F(Attached, AnEventLoopSurvivesARestart) {
  auto producer = std::make_unique<TestProducer>(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  int turns = 0;
  const auto turn_until = [&](auto&& done) {
    const uint64_t end = now_us() + kPatienceUs;
    while (!done() && now_us() < end) {
      while (ebpf_consumer_poll(consumer.handle, 0) > 0) {
      }
      pollfd wait{ebpf_consumer_fd(consumer.handle), POLLIN, 0};
      if (!done()) ::poll(&wait, 1, 1000);
      ++turns;
    }
    ASSERT_TRUE(done());
  };
  producer->write(20);
  turn_until([&] { return consumer.seqs.size() == 20; });
  producer->kill9();
  turn_until([&] { return consumer.gaps.size() == 1; });
  producer = std::make_unique<TestProducer>(path_, small_options(), 20);
  turn_until([&] { return consumer.seqs.size() == 40; });
  producer->write_later(1, 20000);
  turn_until([&] { return consumer.seqs.size() == 41; });
  producer->wait_written();
  EXPECT_LT(turns, 200);  // it slept in between
}

// A live producer that cuts us off: we come back and go on where we were.
TEST_F(Attached, GoesOnWhereItWasWhenItWasCutOff) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  for (size_t round = 0; round < 5; ++round) {
    producer.write(30);
    consumer.during = [&] { return consumer.seqs.size() == 35 * round + 20 ? 1 : 0; };
    consumer.poll_until(35 * round + 20);
    consumer.during = nullptr;
    const int socket = control_socket();
    ASSERT_GE(socket, 0);
    ASSERT_EQ(send(socket, "nonsense", 8, MSG_NOSIGNAL), 8);
    while (producer.consumers() != 0) usleep(1000);
    producer.write(5);
    consumer.poll_until(35 * round + 35);
    const uint64_t end = now_us() + 1000000;
    while (stats_of(consumer.handle).reattaches <= round && now_us() < end) {
      ASSERT_EQ(ebpf_consumer_poll(consumer.handle, 20), 0);
    }
  }
  EXPECT_EQ(consumer.seqs, sequence(0, 175));
  EXPECT_TRUE(consumer.gaps.empty());
  const auto stats = stats_of(consumer.handle);
  EXPECT_EQ(stats.reattaches, 5u);
  EXPECT_EQ(stats.last_end, EBPF_END_DETACHED);
  EXPECT_EQ(stats.last_end_errno, static_cast<uint32_t>(EBADMSG));
  EXPECT_EQ(stats.lost, 0u);
  EXPECT_EQ(stats.published, 175u);
}

// An operator's word is final: no coming back, and the reason is kept.
TEST_F(Attached, StaysAwayWhenItWasEvicted) {
  TestProducer producer(path_);
  TestConsumer consumer(path_);
  ASSERT_EQ(consumer.open(), 0);
  producer.write(10);
  consumer.poll_until(10);
  UniqueFd tool(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(connect(tool.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ebpf_msg_evict evict{};
  evict.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_EVICT, sizeof evict, 0};
  evict.consumer_id = stats_of(consumer.handle).consumer_id;
  ASSERT_EQ(send(tool.get(), &evict, sizeof evict, 0), static_cast<ssize_t>(sizeof evict));
  int polled = 0;
  const uint64_t end = now_us() + kPatienceUs;
  while (polled >= 0 && now_us() < end) polled = ebpf_consumer_poll(consumer.handle, 20);
  EXPECT_EQ(polled, -EPIPE);
  EXPECT_NE(std::strstr(ebpf_last_error(), "evicted by peer (pid "), nullptr) << ebpf_last_error();
  EXPECT_EQ(stats_of(consumer.handle).last_end, EBPF_END_DETACHED);
  EXPECT_EQ(stats_of(consumer.handle).last_end_errno, static_cast<uint32_t>(ECANCELED));
  EXPECT_EQ(stats_of(consumer.handle).delivered, 10u);
  EXPECT_EQ(producer.consumers(), 0u);
}

// ---- servers that are not what they should be -------------------------------------------

// Accepts one connection, takes the JOIN, and answers with whatever the test made up.
class FakeProducer {
 public:
  explicit FakeProducer(const std::string& path)
      : listener_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ::unlink(path.c_str());
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
  }

  template <class Message>
  void answer(const Message& message, const std::vector<int>& fds,
              size_t length = sizeof(Message)) {
    thread_ = std::thread([this, message, fds, length] {
      UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      EXPECT_EQ(recv(peer.get(), &join, sizeof join, 0), ssize_t{sizeof join});
      iovec part{const_cast<Message*>(&message), length};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      if (!fds.empty()) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
        cmsghdr* c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
      }
      if (length == 0) return;
      EXPECT_EQ(sendmsg(peer.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(length));
    });
  }
  ~FakeProducer() { thread_.join(); }

  ebpf_msg_join join{};

 private:
  UniqueFd listener_;
  std::thread thread_;
};

// A real ring and control page, to be spoiled in one place each.
struct FakeAnswer {
  FakeAnswer() {
    message.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_JOINED, sizeof message, 0};
    message.epoch = ring.writer->header().epoch;
    message.data_bytes = ring.writer->header().total_bytes;
    message.control_bytes = EBPF_CONTROL_BYTES;
    message.consumer_id = 1;
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    control = std::move(must(ring.slots.attach(pair[0], ConsumerInfo{})).control_fd);
    ::close(pair[0]);
    ::close(pair[1]);
    fds = {ring.writer->read_only_fd(), control.get()};
  }

  TestRing ring;
  UniqueFd control;
  ebpf_msg_joined message{};
  std::vector<int> fds;
  size_t length = sizeof(ebpf_msg_joined);
  std::vector<UniqueFd> owned;

  void replace(size_t index, int fd) {
    owned.emplace_back(fd);
    fds[index] = fd;
  }
};

int memory_copy(int from, size_t bytes, int seals) {
  const int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  std::vector<char> content(bytes);
  EXPECT_EQ(pread(from, content.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pwrite(fd, content.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

TEST_F(Attached, TakesTheAnswerThatTheOtherCasesSpoil) {
  FakeAnswer answer;
  FakeProducer fake(path_);
  fake.answer(answer.message, answer.fds);
  TestConsumer consumer(path_);
  consumer.options().name = "agent";
  EXPECT_EQ(consumer.open(), 0) << ebpf_last_error();
  EXPECT_STREQ(fake.join.name, "agent");
  EXPECT_EQ(fake.join.layout_version, EBPF_RING_LAYOUT_VERSION);
}

TEST_F(Attached, RefusesAnAnswerThatCannotBeRight) {
  struct Case {
    const char* says;
    int code;
    void (*spoil)(FakeAnswer&);
  };
  const Case cases[] = {
      {"data memory of the producer is not sealed", EBADMSG,
       [](FakeAnswer& a) { a.replace(0, memory_copy(a.fds[0], a.message.data_bytes, 0)); }},
      {"control memory of the producer is not sealed", EBADMSG,
       [](FakeAnswer& a) { a.replace(1, memory_copy(a.fds[1], EBPF_CONTROL_BYTES, F_SEAL_GROW)); }},
      {"is no memfd", EBADMSG,
       [](FakeAnswer& a) { a.replace(0, open("/dev/zero", O_RDONLY | O_CLOEXEC)); }},
      {"is no memfd", EBADMSG,
       [](FakeAnswer& a) { a.replace(1, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }},
      {"announced were", EBADMSG, [](FakeAnswer& a) { a.message.data_bytes += 4096; }},
      {"announced were", EBADMSG, [](FakeAnswer& a) { a.message.control_bytes = 4096; }},
      {"announced were", EBADMSG,
       [](FakeAnswer& a) { a.replace(1, memory_copy(a.fds[1], 4096, F_SEAL_SHRINK)); }},
      {"the ring's total size", EBADMSG,
       [](FakeAnswer& a) {
         a.replace(0, memory_copy(a.fds[0], a.message.data_bytes - 4096, F_SEAL_SHRINK));
         a.message.data_bytes -= 4096;
       }},
      {"the ring is of epoch", EBADMSG, [](FakeAnswer& a) { a.message.epoch += 1; }},
      {"control page", EBADMSG,
       [](FakeAnswer& a) {
         const int fd = memory_copy(a.fds[1], EBPF_CONTROL_BYTES, F_SEAL_SHRINK);
         EXPECT_EQ(pwrite(fd, "x", 1, offsetof(ebpf_control_page, epoch)), 1);
         a.replace(1, fd);
       }},
      {"sent 0 descriptors", EBADMSG, [](FakeAnswer& a) { a.fds.clear(); }},
      {"sent 1 descriptors", EBADMSG, [](FakeAnswer& a) { a.fds.pop_back(); }},
      {"sent 3 descriptors", EBADMSG, [](FakeAnswer& a) { a.fds.push_back(0); }},
      {"no message", EBADMSG, [](FakeAnswer& a) { a.fds.resize(14, 0); }},
      {"no message", EBADMSG, [](FakeAnswer& a) { a.length = 8; }},
      {"wrong length", EBADMSG, [](FakeAnswer& a) { a.message.header.length_bytes = 39; }},
      {"wrong length", EBADMSG, [](FakeAnswer& a) { a.length = 39; }},
      {"does not speak", EBADMSG, [](FakeAnswer& a) { a.message.header.magic = 1; }},
      {"speaks control protocol version 99, this library speaks 2", EPROTO,
       [](FakeAnswer& a) { a.message.header.version = 99; }},
      {"message type 6", EBADMSG, [](FakeAnswer& a) { a.message.header.type = EBPF_MSG_STATS; }},
      {"error message of the wrong length", EBADMSG,
       [](FakeAnswer& a) { a.message.header.type = EBPF_MSG_ERROR; }},
      {"hung up", ECONNRESET, [](FakeAnswer& a) { a.length = 0; }},
  };
  for (const Case& one : cases) {
    FakeAnswer answer;
    one.spoil(answer);
    TestConsumer consumer(path_);
    {
      FakeProducer fake(path_);
      fake.answer(answer.message, answer.fds, answer.length);
      const size_t before = open_descriptors();
      EXPECT_EQ(consumer.open(), -one.code) << one.says << ": " << ebpf_last_error();
      EXPECT_LE(open_descriptors(), before + 1) << one.says;  // the server's end may be open
    }
    EXPECT_NE(std::strstr(ebpf_last_error(), one.says), nullptr)
        << ebpf_last_error() << ", not: " << one.says;
  }
}

TEST_F(Attached, HandsOnWhatTheProducerAnsweredMadePrintable) {
  struct Case {
    int32_t error;
    int expected;
  };
  for (const Case& one :
       {Case{EUSERS, EUSERS}, Case{0, EPROTO}, Case{-5, EPROTO}, Case{1 << 30, EPROTO}}) {
    ebpf_msg_error message{};
    message.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_ERROR, sizeof message, 0};
    message.error = one.error;
    std::memset(message.text, 'x', sizeof message.text);  // no end
    message.text[0] = '\033';
    message.text[1] = '\n';
    TestConsumer consumer(path_);
    FakeProducer fake(path_);
    fake.answer(message, {});
    EXPECT_EQ(consumer.open(), -one.expected);
    const std::string said = ebpf_last_error();
    EXPECT_NE(said.find(": ??xxx"), std::string::npos) << said;
    EXPECT_EQ(said.find('\033'), std::string::npos);
  }
}

TEST_F(Attached, DoesNotWaitForEverForAnAnswer) {
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  TestConsumer consumer(path_);
  const uint64_t start = now_us();
  EXPECT_EQ(consumer.open(), -ETIMEDOUT);
  EXPECT_GE(now_us() - start, 900000u);
  EXPECT_LT(now_us() - start, kPatienceUs);
}

}  // namespace
}  // namespace ebpf

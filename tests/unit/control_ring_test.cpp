// SPDX-License-Identifier: Apache-2.0
// What the control server tells about the ring, its consumers, programs and maps, and how it
// evicts a consumer.
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>

#include "control_support.h"
#include "producer/ring_report.h"

namespace ebpf {
namespace {

constexpr uint64_t kSecondUs = 1'000'000;

class ControlRing : public ControlServerTest {
 protected:
  // A producer with room for so many consumers, instead of the usual one.
  void restart(uint32_t max_consumers) {
    producer_.reset();
    producer_ = std::make_unique<Producer>(path_, max_consumers);
    ASSERT_NE(producer_->server, nullptr) << producer_->error.message;
  }
};

const ebpf_msg_ring* ring_of(const Reply& reply) { return reply.as<ebpf_msg_ring>(EBPF_MSG_RING); }

// Where a consumer says that it stands.
void stand(const Reply& joined, uint64_t next, uint64_t lost, uint64_t filtered = 0) {
  const ControlPage page(joined.descriptors[1].get());
  page->lanes[0].join_seq = 0;
  page->lanes[0].next_seq = next;
  page->lanes[0].lost = lost;
  page->lanes[0].filtered = filtered;
}

TEST_F(ControlRing, TellsWhereAConsumerStandsAndTheSumIsExact) {
  Client consumer(path_), tool(path_);
  const Reply joined = consumer.join();
  ASSERT_EQ(joined.descriptors.size(), 2u);
  for (int i = 0; i < 10; ++i) producer_->ring.write(0, 100, 1);
  stand(joined, 7, 2, 1);
  const Reply reply = tool.ask_page(EBPF_MSG_GET_RING);
  const auto* ring = ring_of(reply);
  ASSERT_NE(ring, nullptr) << reply.text();
  EXPECT_EQ(ring->epoch, slots().epoch());
  EXPECT_EQ(ring->window_records, 10u);
  ASSERT_EQ(ring->row_count, 1u);
  EXPECT_EQ(ring->more, 0u);
  const ebpf_consumer_row& row = ring->rows[0];
  EXPECT_EQ(row.id, 1u);
  EXPECT_EQ(row.pid, getpid());
  EXPECT_EQ(row.uid, geteuid());
  EXPECT_STREQ(row.name, "te?st");
  EXPECT_EQ(row.lanes, 1u);
  EXPECT_EQ(row.position, 7u);
  EXPECT_EQ(row.published, 10u);
  EXPECT_EQ(row.lost, 2u);
  EXPECT_EQ(row.filtered, 1u);
  EXPECT_EQ(row.delivered, 4u);
  EXPECT_EQ(row.unread, 3u);
  EXPECT_EQ(row.state, EBPF_CONSUMER_AWAKE);
}

TEST_F(ControlRing, NonsenseInAControlPageStillAddsUp) {
  Client consumer(path_), tool(path_);
  const Reply joined = consumer.join();
  ASSERT_EQ(joined.descriptors.size(), 2u);
  for (int i = 0; i < 10; ++i) producer_->ring.write(0, 100, 1);
  const uint64_t odd[] = {0, 1, 9, 10, 11, 1000, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
  const ControlPage page(joined.descriptors[1].get());
  for (const uint64_t next : odd) {
    for (const uint64_t count : odd) {
      page->lanes[0].join_seq = count / 2;
      page->lanes[0].next_seq = next;
      page->lanes[0].lost = page->lanes[0].filtered = count;
      const Reply reply = tool.ask_page(EBPF_MSG_GET_RING);
      ASSERT_NE(ring_of(reply), nullptr) << reply.text();
      const ebpf_consumer_row& row = ring_of(reply)->rows[0];
      EXPECT_EQ(row.published, row.delivered + row.filtered + row.lost + row.unread);
      EXPECT_LE(row.published, 10u);
    }
  }
}

TEST_F(ControlRing, ConsumersComeInPages) {
  restart(40);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<Client>(path_));
    ASSERT_EQ(clients.back()->join().descriptors.size(), 2u);
  }
  clients.erase(clients.begin() + 5);  // a gap in the ids
  ASSERT_TRUE(eventually([&] { return slots().count() == 39; }));
  Client tool(path_);
  std::vector<uint32_t> ids;
  uint32_t more = 1;
  while (more > 0) {
    const Reply reply = tool.ask_page(EBPF_MSG_GET_RING, ids.empty() ? 0 : ids.back());
    ASSERT_NE(ring_of(reply), nullptr) << reply.text();
    ASSERT_GT(ring_of(reply)->row_count, 0u);
    for (uint32_t i = 0; i < ring_of(reply)->row_count; ++i) {
      ids.push_back(ring_of(reply)->rows[i].id);
    }
    more = ring_of(reply)->more;
    EXPECT_EQ(ids.size() + more, 39u);
  }
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 6u), 0);
  const Reply behind = tool.ask_page(EBPF_MSG_GET_RING, UINT32_MAX);
  ASSERT_NE(ring_of(behind), nullptr);
  EXPECT_EQ(ring_of(behind)->row_count, 0u);
}

TEST_F(ControlRing, TellsWhoSleepsWhoIsLappedAndWhoIsStopped) {
  Client consumer(path_), tool(path_);
  const Reply joined = consumer.join();
  ASSERT_EQ(joined.descriptors.size(), 2u);
  const auto state = [&] {
    const Reply reply = tool.ask_page(EBPF_MSG_GET_RING);
    return ring_of(reply) != nullptr ? ring_of(reply)->rows[0].state : UINT32_MAX;
  };
  const ControlPage page(joined.descriptors[1].get());
  stand(joined, 0, 0);
  shm_store_seq_cst_u32(&page->sleeping, EBPF_SLEEPS_ON_DOORBELL);
  EXPECT_EQ(state(), EBPF_CONSUMER_ASLEEP);
  shm_store_seq_cst_u32(&page->sleeping, EBPF_AWAKE);
  EXPECT_EQ(state(), EBPF_CONSUMER_AWAKE);
  while (producer_->ring.writer->oldest_record(0) == 0) producer_->ring.write(0, 400, 1);
  EXPECT_EQ(state(), EBPF_CONSUMER_LAPPED);
}

TEST_F(ControlRing, AStoppedProcessIsShownAsStopped) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "evil\n) T \033[2J");
    Client consumer(path_);
    if (consumer.join().descriptors.size() != 2) _exit(1);
    raise(SIGSTOP);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  Client tool(path_);
  const Reply reply = tool.ask_page(EBPF_MSG_GET_RING);
  ASSERT_NE(ring_of(reply), nullptr);
  EXPECT_EQ(ring_of(reply)->rows[0].pid, child);
  EXPECT_EQ(ring_of(reply)->rows[0].state, EBPF_CONSUMER_STOPPED);
  EXPECT_STREQ(ring_of(reply)->rows[0].process, "evil\n) T \033[2J");
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(ControlRing, AnEvictedConsumerIsToldWhyAndItsSlotIsFree) {
  Client consumer(path_), tool(path_);
  ASSERT_EQ(consumer.join().descriptors.size(), 2u);
  EXPECT_EQ(tool.evict(7).text(), "no consumer 7 is attached");
  EXPECT_EQ(tool.evict(0).error(), ENOENT) << "no consumer has that id";
  ASSERT_NE(tool.evict(1).as<ebpf_msg_header>(EBPF_MSG_OK), nullptr);
  const Reply parting = consumer.receive();
  EXPECT_EQ(parting.error(), ECANCELED);
  EXPECT_EQ(parting.text(), "evicted by peer (pid " + std::to_string(getpid()) + ", uid " +
                                std::to_string(geteuid()) + ")");
  EXPECT_TRUE(consumer.ended());
  EXPECT_EQ(slots().count(), 0u);
  EXPECT_EQ(producer_->server->counters().evicted, 1u);
  EXPECT_NE(tool.ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr);
}

TEST_F(ControlRing, AConsumerCannotEvictItself) {
  Client consumer(path_);
  ASSERT_EQ(consumer.join().descriptors.size(), 2u);
  EXPECT_EQ(consumer.evict(1).error(), EINVAL);
  EXPECT_EQ(slots().count(), 1u);
}

TEST_F(ControlRing, OthersLookButDoNotEvictNorCountRuns) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  chmod(path_.c_str(), 0666);  // as if the other user were in the group
  Client consumer(path_);
  ASSERT_EQ(consumer.join().descriptors.size(), 2u);
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    Client tool(path_);
    if (ring_of(tool.ask_page(EBPF_MSG_GET_RING)) == nullptr) _exit(3);
    if (tool.evict(1).error() != EPERM) _exit(4);
    const Reply reply = tool.ask_page(EBPF_MSG_GET_PROGRAMS);
    const auto* programs = reply.as<ebpf_msg_programs>(EBPF_MSG_PROGRAMS);
    if (programs == nullptr || programs->row_count == 0) _exit(5);
    if (programs->statistics != EBPF_STATISTICS_NOT_ALLOWED) _exit(6);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(slots().count(), 1u);
}

// Of a pipe whose other end the server holds.
bool is_let_go(const UniqueFd& reading_end) {
  pollfd end{reading_end.get(), POLLIN, 0};
  return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
}

TEST_F(ControlRing, RunsAreCountedWhileAConnectionLooksAndNoLonger) {
  Client tool(path_);
  const Reply reply = tool.ask_page(EBPF_MSG_GET_PROGRAMS);
  const auto* programs = reply.as<ebpf_msg_programs>(EBPF_MSG_PROGRAMS);
  ASSERT_NE(programs, nullptr) << reply.text();
  EXPECT_EQ(programs->statistics, EBPF_STATISTICS_ON);
  ASSERT_TRUE(producer_->counting);
  tool.ask_page(EBPF_MSG_GET_PROGRAMS);
  EXPECT_FALSE(is_let_go(producer_->counting)) << "one descriptor serves all questions";
  tool.fd.reset();
  EXPECT_TRUE(eventually([&] { return is_let_go(producer_->counting); }));
}

TEST_F(ControlRing, SaysWhereRunsCannotBeCounted) {
  producer_->counts_runs = false;
  Client tool(path_);
  const Reply reply = tool.ask_page(EBPF_MSG_GET_PROGRAMS);
  const auto* programs = reply.as<ebpf_msg_programs>(EBPF_MSG_PROGRAMS);
  ASSERT_NE(programs, nullptr) << reply.text();
  EXPECT_EQ(programs->statistics, EBPF_STATISTICS_NONE);
}

TEST_F(ControlRing, ProgramsAndMapsComeInPages) {
  Client tool(path_);
  uint32_t seen = 0;
  for (uint32_t more = 1; more > 0;) {
    const Reply reply = tool.ask_page(EBPF_MSG_GET_MAPS, seen);
    const auto* maps = reply.as<ebpf_msg_maps>(EBPF_MSG_MAPS);
    ASSERT_NE(maps, nullptr) << reply.text();
    for (uint32_t i = 0; i < maps->row_count; ++i) EXPECT_EQ(maps->rows[i].max_entries, seen++);
    more = maps->more;
    EXPECT_EQ(seen + more, producer_->listed);
  }
  for (const uint32_t from : {40u, 41u, UINT32_MAX}) {
    const Reply reply = tool.ask_page(EBPF_MSG_GET_PROGRAMS, from);
    const auto* programs = reply.as<ebpf_msg_programs>(EBPF_MSG_PROGRAMS);
    ASSERT_NE(programs, nullptr) << reply.text();
    EXPECT_EQ(programs->row_count, 0u);
    EXPECT_EQ(programs->more, 0u);
  }
}

// ---- history ------------------------------------------------------------------------

TEST(PublishHistory, KnowsSinceWhenARecordIsThere) {
  PublishHistory history(1);
  for (uint64_t second = 0; second <= 10; ++second) {
    const uint64_t records = second * 100;
    history.add(second * kSecondUs, &records, records * 500);
  }
  const uint64_t now = 10 * kSecondUs;
  EXPECT_EQ(history.age_us(0, 1000, now), 0u) << "not there yet";
  EXPECT_NEAR(static_cast<double>(history.age_us(0, 500, now)), 5e6, 2e4);
  EXPECT_NEAR(static_cast<double>(history.age_us(0, 0, now)), 10e6, 2e4);
  EXPECT_EQ(history.rate().records_per_s, 100u);
  EXPECT_EQ(history.rate().bytes_per_s, 50000u);
}

TEST(PublishHistory, ReachesBackForDaysInABoundedNumberOfSamples) {
  PublishHistory history(1);
  constexpr uint64_t kDays = 3 * 86400;
  for (uint64_t second = 0; second <= kDays; ++second) {
    history.add(second * kSecondUs, &second, second);
  }
  const uint64_t now = kDays * kSecondUs;
  for (const uint64_t ago : {1, 60, 3600, 86400, 2 * 86400}) {
    const double error =
        static_cast<double>(history.age_us(0, kDays - ago, now)) / 1e6 - static_cast<double>(ago);
    EXPECT_LT(std::abs(error), 2 + 0.02 * static_cast<double>(ago)) << ago << " s ago";
  }
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/control_server.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "control_support.h"

namespace ebpf {
namespace {

// ---- join -------------------------------------------------------------------------

TEST_F(ControlServerTest, HandsOutTheRingAndAControlPage) {
  Client client(path_);
  const Reply reply = client.join();
  const auto* joined = reply.as<ebpf_msg_joined>(EBPF_MSG_JOINED);
  ASSERT_NE(joined, nullptr) << reply.text();
  EXPECT_EQ(joined->epoch, slots().epoch());
  EXPECT_EQ(joined->consumer_id, 1u);
  EXPECT_EQ(joined->control_bytes, EBPF_CONTROL_BYTES);
  ASSERT_EQ(reply.descriptors.size(), 2u);
  struct stat about {};
  ASSERT_EQ(fstat(reply.descriptors[0].get(), &about), 0);
  EXPECT_EQ(static_cast<uint64_t>(about.st_size), joined->data_bytes);
  EXPECT_EQ(fcntl(reply.descriptors[0].get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  const Mapping<ebpf_ring_header> ring(reply.descriptors[0].get(), 4096, PROT_READ);
  EXPECT_EQ(ring->magic, EBPF_RING_MAGIC);
  EXPECT_EQ(ring->epoch, joined->epoch);
  const ControlPage page(reply.descriptors[1].get());
  EXPECT_EQ(page->magic, EBPF_CONTROL_MAGIC);
  EXPECT_EQ(page->epoch, joined->epoch);
  EXPECT_NE(producer_->log().find("consumer 1 (te?st, pid " + std::to_string(getpid())),
            std::string::npos)
      << producer_->log();
}

TEST_F(ControlServerTest, RefusesAnotherLayoutVersion) {
  Client client(path_);
  ebpf_msg_join join = Client::join_message();
  join.layout_version = 9;
  client.send_bytes(&join, sizeof(join));
  const Reply reply = client.receive();
  EXPECT_EQ(reply.error(), EPROTO);
  EXPECT_EQ(reply.text(), "ring layout version 9 asked for, this producer writes version 1");
  EXPECT_TRUE(client.ended());
}

TEST_F(ControlServerTest, JoinsAConnectionOnce) {
  Client client(path_);
  EXPECT_EQ(client.join().bytes, static_cast<ssize_t>(sizeof(ebpf_msg_joined)));
  EXPECT_EQ(client.join().error(), EALREADY);
  EXPECT_EQ(slots().count(), 1u);
  EXPECT_NE(client.ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr)
      << "the connection goes on";
}

TEST_F(ControlServerTest, RefusesConsumersBeyondTheSlots) {
  Client a(path_), b(path_), c(path_), d(path_);
  for (Client* client : {&a, &b, &c}) {
    EXPECT_EQ(client->join().bytes, static_cast<ssize_t>(sizeof(ebpf_msg_joined)));
  }
  const Reply reply = d.join();
  EXPECT_EQ(reply.error(), EUSERS);
  EXPECT_EQ(reply.text(), "all 3 consumer slots are taken");
  b.fd.reset();
  EXPECT_TRUE(eventually([&] { return slots().count() == 2; }));
  EXPECT_EQ(d.join().bytes, static_cast<ssize_t>(sizeof(ebpf_msg_joined)));
}

TEST_F(ControlServerTest, FreesTheSlotOfAKilledConsumerAndCountsWhatItHadNotRead) {
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    Client client(path_);
    const Reply reply = client.join();
    if (reply.descriptors.size() != 2) _exit(1);
    const ControlPage page(reply.descriptors[1].get());
    page->lanes[0].join_seq = page->lanes[0].next_seq = 0;
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(slots().count(), 1u);
  for (int i = 0; i < 10; ++i) producer_->ring.write(0, 100, 1);
  kill(child, SIGKILL);
  EXPECT_TRUE(eventually([&] { return slots().count() == 0; }, milliseconds(1000)));
  EXPECT_EQ(producer_->server->undelivered(), 10u);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(ControlServerTest, TellsConsumersWhenItEnds) {
  Client client(path_);
  ASSERT_EQ(client.join().bytes, static_cast<ssize_t>(sizeof(ebpf_msg_joined)));
  producer_.reset();
  EXPECT_TRUE(client.ended());
}

// ---- stats, offsets, start, stop ----------------------------------------------------

TEST_F(ControlServerTest, AnswersStatsAndOffsets) {
  Client consumer(path_), tool(path_);
  consumer.join();
  const Reply stats = tool.ask(EBPF_MSG_GET_STATS);
  ASSERT_NE(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr);
  EXPECT_EQ(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS)->kern_emitted, 4711u);
  EXPECT_EQ(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS)->consumer_count, 1u);
  const Reply offsets = tool.ask(EBPF_MSG_GET_OFFSETS);
  ASSERT_NE(offsets.as<ebpf_msg_offsets>(EBPF_MSG_OFFSETS), nullptr);
  EXPECT_EQ(offsets.as<ebpf_msg_offsets>(EBPF_MSG_OFFSETS)->cpu_count, 2u);
}

TEST_F(ControlServerTest, StartsAndTellsWhyItCannotStop) {
  Client tool(path_);
  EXPECT_NE(tool.ask(EBPF_MSG_START).as<ebpf_msg_header>(EBPF_MSG_OK), nullptr);
  EXPECT_EQ(producer_->starts, 1);
  const Reply reply = tool.ask(EBPF_MSG_STOP);
  EXPECT_EQ(reply.error(), EBUSY);
  EXPECT_EQ(reply.text(), "cannot stop just now");
}

TEST_F(ControlServerTest, LetsOnlyRootAndItsOwnUserStartAndStop) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  chmod(path_.c_str(), 0666);  // as if the other user were in the group
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    Client tool(path_);
    if (tool.ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS) == nullptr) _exit(3);
    const Reply start = tool.ask(EBPF_MSG_START);
    if (start.error() != EPERM) _exit(4);
    if (start.text().find("only root and the producer's user (uid 0)") != 0) _exit(5);
    if (tool.ask(EBPF_MSG_STOP).error() != EPERM) _exit(6);
    if (tool.join().bytes != sizeof(ebpf_msg_joined)) _exit(7);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(producer_->starts, 0);
}

// ---- hostile peers ----------------------------------------------------------------

TEST_F(ControlServerTest, AnswersNonsenseWithAnErrorAndHangsUp) {
  const std::string junk(200, 'j');
  for (const size_t bytes : {size_t{1}, size_t{15}, size_t{16}, size_t{40}, size_t{200}}) {
    Client client(path_);
    ASSERT_TRUE(client.send_bytes(junk.data(), bytes));
    EXPECT_EQ(client.receive().error(), EBADMSG) << bytes;
    EXPECT_TRUE(client.ended());
  }
  for (const uint16_t type : {EBPF_MSG_JOIN, EBPF_MSG_JOINED, EBPF_MSG_STATS}) {
    Client client(path_);
    EXPECT_EQ(client.ask(type).error(), EBADMSG) << "a header alone is no such message";
    EXPECT_TRUE(client.ended());
  }
  Client client(path_);
  const auto join = Client::join_message();
  std::string longer(reinterpret_cast<const char*>(&join), sizeof(join));
  ASSERT_TRUE(client.send_bytes((longer + "x").data(), sizeof(join) + 1));
  EXPECT_EQ(client.receive().error(), EBADMSG);
  EXPECT_EQ(slots().count(), 0u);
}

TEST_F(ControlServerTest, TakesNoDescriptors) {
  const size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Client client(path_);
    auto message = Client::join_message();
    int sent[3] = {0, 1, 2};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(sent))] = {};
    iovec part{&message, sizeof(message)};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(sent));
    std::memcpy(CMSG_DATA(rights), sent, sizeof(sent));
    if (sendmsg(client.fd.get(), &header, MSG_NOSIGNAL) < 0) {
      EXPECT_EQ(errno, EPERM) << "Linux 6.16 and later refuse at the sender";
      continue;
    }
    EXPECT_EQ(client.receive().error(), EBADMSG);
    EXPECT_TRUE(client.ended());
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() == before; }));
}

TEST_F(ControlServerTest, HangsUpOnAFlood) {
  Client client(path_);
  int error = 0;
  int answers = 0;
  while (error == 0 && answers < 5000) {
    if (!client.send_header(EBPF_MSG_GET_STATS)) break;
    const Reply reply = client.receive();
    if (reply.bytes <= 0) break;
    error = reply.error();
    answers += error == 0;
  }
  EXPECT_EQ(error, EAGAIN);
  EXPECT_GT(answers, 100);
  EXPECT_LT(answers, 2000);
  EXPECT_TRUE(client.ended());
  Client other(path_);
  EXPECT_NE(other.ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr);
}

TEST(ControlServerLimits, TellsAUserWhoJoinsTooFastToTryAgain) {
  TempDir folder;
  const std::string path = folder.path + "/producer.sock";
  ControlLimits limits = Producer::no_limits();
  limits.user_joins = {20, 3};
  Producer producer(path, 8, limits);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Client(path).join().descriptors.size(), 2u) << i;
  Client client(path);
  const Reply refused = client.join();
  EXPECT_EQ(refused.error(), EAGAIN);
  EXPECT_EQ(refused.text(),
            "busy: uid " + std::to_string(geteuid()) + " joins more than 20 per second, try again");
  EXPECT_TRUE(eventually([&] { return client.join().descriptors.size() == 2; }));
  const Reply stats = client.ask(EBPF_MSG_GET_STATS);
  ASSERT_NE(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr);
  EXPECT_GE(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS)->joins_refused, 1u);
  EXPECT_EQ(stats.as<ebpf_msg_stats>(EBPF_MSG_STATS)->joins_refused,
            producer.server->counters().joins_refused);
}

TEST(ControlServerLimits, TurnsAwayAUserWhoConnectsTooFast) {
  TempDir folder;
  const std::string path = folder.path + "/producer.sock";
  ControlLimits limits = Producer::no_limits();
  limits.user_connections = {20, 3};
  Producer producer(path, 8, limits);
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    Client client(path);
    client.send_header(EBPF_MSG_GET_STATS);
    refused += client.receive().error() == EAGAIN;
  }
  EXPECT_GE(refused, 5);
  EXPECT_EQ(producer.server->counters().connections_refused, static_cast<uint64_t>(refused));
  EXPECT_TRUE(eventually([&] {
    return Client(path).ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS) != nullptr;
  }));
}

TEST(ControlServerLimits, RestsWhenEverybodyConnectsTooFast) {
  TempDir folder;
  const std::string path = folder.path + "/producer.sock";
  ControlLimits limits = Producer::no_limits();
  limits.accepts = {100, 4};
  Producer producer(path, 8, limits);
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 24; ++i) {
    EXPECT_EQ(Client(path).ask(EBPF_MSG_GET_STATS).error(), 0) << i;
  }
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, milliseconds(150)) << "24 at 100 per second, but for the first 4";
}

TEST(ControlServerLimits, CountsMessagesOfAllConnectionsOfAUser) {
  TempDir folder;
  const std::string path = folder.path + "/producer.sock";
  ControlLimits limits = Producer::no_limits();
  limits.user_messages = {1, 50};
  Producer producer(path, 8, limits);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(std::make_unique<Client>(path));
  ASSERT_EQ(clients[7]->join().descriptors.size(), 2u);
  int answers = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 7; ++i) {
      clients[i]->send_header(EBPF_MSG_GET_STATS);
      answers += clients[i]->receive().as<ebpf_msg_stats>(EBPF_MSG_STATS) != nullptr;
    }
  }
  EXPECT_GE(answers, 45);
  EXPECT_LE(answers, 52);
  EXPECT_EQ(producer.ring.slots.count(), 1u) << "a consumer that is silent stays";
  EXPECT_EQ(producer.server->counters().evicted, 0u);
  clients[7]->send_header(EBPF_MSG_GET_STATS);
  EXPECT_EQ(clients[7]->receive().error(), EAGAIN) << "and one that is not is told why it goes";
  EXPECT_TRUE(eventually([&] { return producer.server->counters().evicted == 1; }));
}

TEST(ControlServerLimits, KeepsSlotsFreeOfOneUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  TempDir folder;
  const std::string path = folder.path + "/producer.sock";
  Producer producer(path, 8);
  chmod(path.c_str(), 0666);  // as if the other user were in the group
  int held[2];
  ASSERT_EQ(pipe(held), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 6; ++i) {
      clients.push_back(std::make_unique<Client>(path));
      if (clients.back()->join().descriptors.size() != 2) _exit(3);
    }
    const Reply refused = Client(path).join();
    if (refused.error() != EUSERS) _exit(4);
    if (refused.text() !=
        "uid 65534 holds 6 consumer slots, the most that one user may have of 8") {
      _exit(5);
    }
    clients.pop_back();
    if (!eventually([&] { return Client(path).join().descriptors.size() == 2; })) _exit(6);
    char done = 1;
    if (write(held[1], &done, 1) != 1) _exit(7);
    pause();
    _exit(0);
  }
  ::close(held[1]);
  char done = 0;
  EXPECT_EQ(read(held[0], &done, 1), 1);
  ::close(held[0]);
  // Root may have all the rest.
  Client one(path), two(path);
  EXPECT_EQ(one.join().descriptors.size(), 2u);
  EXPECT_EQ(two.join().descriptors.size(), 2u);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_FALSE(WIFEXITED(status)) << WEXITSTATUS(status);
}

TEST(PeerLimits, LeaveASlotWhereThereIsMoreThanOne) {
  EXPECT_EQ(user_slots_max(1), 1u);
  EXPECT_EQ(user_slots_max(2), 1u);
  EXPECT_EQ(user_slots_max(3), 2u);
  EXPECT_EQ(user_slots_max(16), 12u);
  EXPECT_EQ(user_slots_max(64), 48u);
}

TEST(PeerLimits, RememberBoundedlyManyUsers) {
  ControlLimits limits;
  limits.user_joins = {0, 1};
  PeerBudgets budgets(limits);
  for (uid_t uid = 0; uid < 100'000; ++uid) (void)budgets.of(uid).joins.take();
  EXPECT_FALSE(budgets.of(0).joins.take());
  EXPECT_FALSE(budgets.of(99'999).joins.take()) << "all the rest share one budget";
}

TEST_F(ControlServerTest, HangsUpOnAPeerThatDoesNotReadItsAnswers) {
  Client deaf(path_);
  ASSERT_EQ(deaf.join().bytes, static_cast<ssize_t>(sizeof(ebpf_msg_joined)));
  EXPECT_EQ(slots().count(), 1u);
  for (int i = 0; i < 5000; ++i) {
    if (!deaf.send_header(EBPF_MSG_GET_STATS)) break;
  }
  EXPECT_TRUE(eventually([&] { return slots().count() == 0; }));
  EXPECT_TRUE(eventually([&] { return producer_->server->counters().evicted == 1; }));
}

TEST_F(ControlServerTest, BoundsTheNumberOfConnections) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 60; ++i) clients.push_back(std::make_unique<Client>(path_));
  int served = 0;
  int refused = 0;
  for (const auto& client : clients) {
    client->send_header(EBPF_MSG_GET_STATS);
    const Reply reply = client->receive();
    served += reply.as<ebpf_msg_stats>(EBPF_MSG_STATS) != nullptr;
    refused += reply.error() == EUSERS;
  }
  EXPECT_EQ(served, 3 + 32);
  EXPECT_EQ(refused, 60 - served);
  clients.clear();
  EXPECT_TRUE(eventually([&] {
    return Client(path_).ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS) != nullptr;
  }));
}

TEST_F(ControlServerTest, LeaksNothingOverAThousandJoins) {
  {
    Client warm_up(path_);
    warm_up.join();
  }
  ASSERT_TRUE(eventually([&] { return slots().count() == 0; }));
  std::this_thread::sleep_for(milliseconds(20));
  const size_t before = open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    Client client(path_);
    // The slots of clients that have just left may not be free yet.
    ASSERT_TRUE(eventually([&] { return client.join().descriptors.size() == 2; })) << i;
  }
  EXPECT_TRUE(eventually([&] { return slots().count() == 0 && open_descriptors() == before; }))
      << open_descriptors() << " instead of " << before;
}

TEST_F(ControlServerTest, DoesNotSpinWhenDescriptorsRunOut) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  int go[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    if (read(go[0], &byte, 1) != 1) _exit(9);
    int refused = 0;
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(std::make_unique<Client>(path_));
      refused += clients.back()->receive().error() == EMFILE;
    }
    _exit(refused);
  }
  const rlimit tight{64, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::vector<UniqueFd> filler;
  while (const UniqueFd* last = &filler.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC))) {
    if (!*last) break;
  }
  const uint64_t runs = producer_->runs;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(write(go[1], "x", 1), 1);
  int status = 0;
  waitpid(child, &status, 0);
  const auto took =
      std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LT(producer_->runs - runs, 50u + static_cast<uint64_t>(took))
      << "in " << took << " ms: run_once() finds something to do all the time";
  EXPECT_EQ(WEXITSTATUS(status), 5) << "each was told why";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  close(go[0]);
  close(go[1]);
  Client client(path_);
  EXPECT_NE(client.ask(EBPF_MSG_GET_STATS).as<ebpf_msg_stats>(EBPF_MSG_STATS), nullptr);
}

// ---- the socket in the file system --------------------------------------------------

TEST_F(ControlServerTest, RefusesASecondProducerOnTheSamePath) {
  Producer second(path_);
  ASSERT_EQ(second.server, nullptr);
  EXPECT_EQ(second.error.code, EADDRINUSE);
  EXPECT_EQ(second.error.message,
            "another producer (pid " + std::to_string(getpid()) + ") already serves " + path_);
  Client client(path_);
  EXPECT_EQ(client.join().descriptors.size(), 2u) << "the first one goes on";
}

TEST_F(ControlServerTest, LeavesNothingBehindAndCanBeFollowed) {
  producer_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock"));
  Producer next(path_);
  EXPECT_NE(next.server, nullptr) << next.error.message;
}

TEST_F(ControlServerTest, MakesDirectoryAndSocketWithNarrowModes) {
  struct stat about {};
  ASSERT_EQ(stat((dir_.path + "/run").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0755u);
  ASSERT_EQ(lstat(path_.c_str(), &about), 0);
  EXPECT_TRUE(S_ISSOCK(about.st_mode));
  EXPECT_EQ(about.st_mode & 07777, 0660u);
  if (const group* entry = getgrnam(EBPF_SOCKET_GROUP)) {
    EXPECT_EQ(about.st_gid, entry->gr_gid);
  }
  ASSERT_EQ(lstat((path_ + ".lock").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0600u) << "who can read it could lock it";
  std::ifstream lock(path_ + ".lock");
  int pid = 0;
  lock >> pid;
  EXPECT_EQ(pid, getpid());
}

TEST(ControlServerPath, ReplacesTheSocketOfADeadProducer) {
  TempDir dir;
  const std::string path = dir.path + "/p.sock";
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    std::ofstream(path + ".lock") << "99999999\n";

    // While somebody listens on it, it is not ours to replace.
    ASSERT_EQ(listen(dead.get(), 1), 0);
    Producer refused(path);
    EXPECT_EQ(refused.error.code, EADDRINUSE);
  }
  Producer producer(path);
  ASSERT_NE(producer.server, nullptr) << producer.error.message;
  EXPECT_EQ(Client(path).join().descriptors.size(), 2u);
}

TEST(ControlServerPath, DoesNotReplaceWhatIsNoSocket) {
  TempDir dir;
  const std::string path = dir.path + "/precious";
  std::ofstream(path) << "data";
  Producer producer(path);
  EXPECT_EQ(producer.error.code, EEXIST);
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

TEST(ControlServerPath, DoesNotFollowALinkInPlaceOfTheLock) {
  TempDir dir;
  const std::string target = dir.path + "/target";
  std::ofstream(target) << "data";
  ASSERT_EQ(symlink(target.c_str(), (dir.path + "/p.sock.lock").c_str()), 0);
  Producer producer(dir.path + "/p.sock");
  EXPECT_EQ(producer.error.code, ELOOP);
  EXPECT_EQ(std::filesystem::file_size(target), 4u);
  std::filesystem::remove(dir.path + "/p.sock.lock");
  ASSERT_EQ(mkfifo((dir.path + "/p.sock.lock").c_str(), 0600), 0);
  Producer second(dir.path + "/p.sock");
  EXPECT_EQ(second.error.code, EEXIST);
}

TEST(ControlServerPath, NamesTheLimitOfAPathThatIsTooLong) {
  TempDir dir;
  const std::string path = dir.path + "/" + std::string(120, 'x');
  Producer producer(path);
  EXPECT_EQ(producer.error.code, ENAMETOOLONG);
  EXPECT_NE(producer.error.message.find("at most 107 are possible"), std::string::npos)
      << producer.error.message;
  Producer empty("");
  EXPECT_EQ(empty.error.code, EINVAL);

  // The longest one works.
  const std::string longest = dir.path + "/" + std::string(107 - dir.path.size() - 1, 'y');
  Producer fits(longest);
  EXPECT_NE(fits.server, nullptr) << fits.error.message;
  EXPECT_EQ(Client(longest).join().descriptors.size(), 2u);
}

TEST(ControlServerPath, SaysWhichDirectoryCannotBeMade) {
  TempDir dir;
  Producer producer(dir.path + "/no/such/p.sock");
  EXPECT_EQ(producer.error.code, ENOENT);
  EXPECT_NE(producer.error.message.find(dir.path + "/no/such"), std::string::npos)
      << producer.error.message;
}

}  // namespace
}  // namespace ebpf

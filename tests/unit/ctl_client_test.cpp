// SPDX-License-Identifier: Apache-2.0
// The control client against producers that are not there, that lie, or that are silent.
#include "consumer/control_client.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/ctl_fake_producer.h"
#include "tests/unit/ctl_samples.h"

namespace ebpf::ctl {
namespace {

using namespace ebpf::test;
using namespace std::chrono_literals;

// The error of get_stats() against a producer that always answers `packet`.
Error stats_error(Packet packet) {
  FakeProducer producer(always(std::move(packet)));
  auto client = ControlClient::connect(producer.path());
  if (!client) return client.error();
  auto stats = client->get_stats();
  return stats ? Error{} : stats.error();
}

ebpf_msg_error error_message(int32_t code, const char* text) {
  ebpf_msg_error message{};
  message.header = message_header(EBPF_MSG_ERROR, sizeof(message));
  message.error = code;
  std::snprintf(message.text, sizeof(message.text), "%s", text);
  return message;
}

TEST(ControlClient, ReadsStatsAndOffsetsOverOneConnection) {
  FakeProducer producer([](const Packet& request) {
    ebpf_msg_header header;
    EXPECT_EQ(request.size(), sizeof(header));
    std::memcpy(&header, request.data(), sizeof(header));
    EXPECT_EQ(header.magic, EBPF_MSG_MAGIC);
    EXPECT_EQ(header.version, EBPF_PROTOCOL_VERSION);
    EXPECT_EQ(header.length_bytes, sizeof(header));
    const bool stats = header.type == EBPF_MSG_GET_STATS;
    return std::vector<Packet>{stats ? to_packet(sample_stats()) : to_packet(sample_offsets())};
  });
  auto client = ControlClient::connect(producer.path());
  ASSERT_TRUE(client) << client.error().message;
  auto stats = client->get_stats();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(stats->user_enqueue_count, 36805u);
  auto offsets = client->get_offsets();
  ASSERT_TRUE(offsets) << offsets.error().message;
  EXPECT_EQ(offsets->entry_count, 5u);
}

TEST(ControlClient, StartAndStopSendTheirRequest) {
  std::vector<uint16_t> types;
  {
    FakeProducer producer([&](const Packet& request) {
      ebpf_msg_header header;
      std::memcpy(&header, request.data(), sizeof(header));
      types.push_back(header.type);
      return std::vector<Packet>{to_packet(message_header(EBPF_MSG_OK, sizeof(header)))};
    });
    auto client = ControlClient::connect(producer.path());
    ASSERT_TRUE(client);
    EXPECT_TRUE(client->start());
    EXPECT_TRUE(client->stop());
  }
  EXPECT_EQ(types, (std::vector<uint16_t>{EBPF_MSG_START, EBPF_MSG_STOP}));
}

TEST(ControlClient, SaysThatNoProducerIsThere) {
  const auto missing = ControlClient::connect("/nonexistent/producer.sock");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);

  std::string path;
  TemporaryFolder folder;
  UniqueFd bound(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", folder.socket_path().c_str());
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const auto stale = ControlClient::connect(folder.socket_path());
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, ECONNREFUSED);
}

TEST(ControlClient, RefusesAPathThatDoesNotFit) {
  for (const std::string& path : {std::string(), std::string(108, 'a')}) {
    const auto client = ControlClient::connect(path);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code, ENAMETOOLONG);
  }
}

TEST(ControlClient, RefusesShortAndLongAnswers) {
  const Packet whole = to_packet(sample_stats());
  Packet long_packet = whole;
  long_packet.resize(whole.size() + 100000);
  for (const size_t length : {size_t{1}, size_t{15}, size_t{16}, whole.size() - 1}) {
    EXPECT_EQ(stats_error(Packet(whole.begin(), whole.begin() + length)).code, EBADMSG) << length;
  }
  EXPECT_EQ(stats_error(long_packet).code, EBADMSG);
}

TEST(ControlClient, RefusesALengthFieldThatFitsThePacketButNotTheType) {
  ebpf_msg_stats stats = sample_stats();
  stats.header.length_bytes = sizeof(stats.header);
  Packet packet = to_packet(stats);
  packet.resize(sizeof(stats.header));
  EXPECT_EQ(stats_error(packet).code, EBADMSG);
}

TEST(ControlClient, RefusesAWrongMagicOrType) {
  ebpf_msg_stats magic = sample_stats();
  magic.header.magic ^= 1;
  EXPECT_EQ(stats_error(to_packet(magic)).code, EBADMSG);
  ebpf_msg_stats type = sample_stats();
  type.header.type = EBPF_MSG_OFFSETS;
  EXPECT_EQ(stats_error(to_packet(type)).code, EBADMSG);
}

TEST(ControlClient, TellsAnotherVersionWhateverItsLength) {
  ebpf_msg_stats stats = sample_stats();
  stats.header.version = EBPF_PROTOCOL_VERSION + 1;
  Packet packet = to_packet(stats);
  EXPECT_EQ(stats_error(packet).code, EPROTO);
  packet.resize(packet.size() - 8);
  EXPECT_EQ(stats_error(packet).code, EPROTO);
  packet.resize(200000);
  EXPECT_EQ(stats_error(packet).code, EPROTO);
}

TEST(ControlClient, RefusesCountsThatCannotBe) {
  ebpf_msg_stats stats = sample_stats();
  stats.lane_count = EBPF_LANES_MAX + 1;
  EXPECT_EQ(stats_error(to_packet(stats)).code, EBADMSG);

  for (const auto& [entries, cpus] :
       {std::pair<uint32_t, uint32_t>{EBPF_OFFSET_ENTRIES_MAX + 1, 1}, {1, UINT32_MAX}}) {
    ebpf_msg_offsets offsets = sample_offsets();
    offsets.entry_count = entries;
    offsets.cpu_count = cpus;
    FakeProducer producer(always(to_packet(offsets)));
    auto client = ControlClient::connect(producer.path());
    ASSERT_TRUE(client);
    auto result = client->get_offsets();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, EBADMSG);
  }
}

TEST(ControlClient, TellsTheProducersOwnWords) {
  const Error refused = stats_error(to_packet(error_message(EPERM, "only root\033[2J")));
  EXPECT_EQ(refused.code, EPERM);
  EXPECT_NE(refused.message.find("only root\\x1b[2J"), std::string::npos) << refused.message;
  EXPECT_EQ(stats_error(to_packet(error_message(EPROTO, "version"))).code, EPROTO);
  EXPECT_EQ(stats_error(to_packet(error_message(ENOENT, "no such BTF file"))).code, EREMOTEIO);
  EXPECT_EQ(stats_error(to_packet(error_message(-5, ""))).code, EREMOTEIO);
}

TEST(ControlClient, GivesUpOnASilentProducerInTime) {
  FakeProducer producer(silence());
  auto client = ControlClient::connect(producer.path(), 100ms);
  ASSERT_TRUE(client);
  const auto begin = std::chrono::steady_clock::now();
  auto stats = client->get_stats();
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code, ETIMEDOUT);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
}

TEST(ControlClient, GivesUpOnAProducerThatAcceptsNobody) {
  TemporaryFolder folder;
  UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", folder.socket_path().c_str());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  auto first = ControlClient::connect(folder.socket_path(), 100ms);
  ASSERT_TRUE(first);
  auto second = ControlClient::connect(folder.socket_path(), 100ms);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ETIMEDOUT);
}

TEST(ControlClient, TellsAProducerThatHangsUp) {
  FakeProducer producer(silence(), true);
  auto client = ControlClient::connect(producer.path());
  ASSERT_TRUE(client);
  auto stats = client->get_stats();
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code, EBADMSG);
}

TEST(ControlClient, ReadsTheReasonOfAProducerThatClosesUnasked) {
  FakeProducer producer(silence(), true, to_packet(error_message(EPERM, "go away")));
  auto client = ControlClient::connect(producer.path());
  ASSERT_TRUE(client);
  auto stats = client->get_stats();
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code, EPERM);
}

// ---- lists in pages -----------------------------------------------------------------

FakeProducer::Answer always_ring(uint32_t row_count, uint32_t more, uint32_t first_id) {
  ebpf_msg_ring ring{};
  ring.header = message_header(EBPF_MSG_RING, sizeof(ring));
  ring.row_count = row_count;
  ring.more = more;
  for (uint32_t i = 0; i < EBPF_ROWS_PER_PAGE; i++) ring.rows[i].id = first_id + i;
  return always(to_packet(ring));
}

TEST(ControlClient, TakesNoListThatHasNoEnd) {
  const FakeProducer::Answer answers[] = {
      always_ring(EBPF_ROWS_PER_PAGE + 1, 0, 1), always_ring(0, 1, 1),
      always_ring(3, UINT32_MAX, 1),
      always_ring(EBPF_ROWS_PER_PAGE, 1, 1),  // the same page again and again
      always_ring(1, 0, 0)};
  for (const auto& answer : answers) {
    FakeProducer producer(answer);
    auto client = ControlClient::connect(producer.path());
    ASSERT_TRUE(client);
    auto ring = client->get_ring();
    ASSERT_FALSE(ring);
    EXPECT_EQ(ring.error().code, EBADMSG);
  }
  ebpf_msg_maps maps{};
  maps.header = message_header(EBPF_MSG_MAPS, sizeof(maps));
  maps.row_count = EBPF_ROWS_PER_PAGE;
  maps.more = 1;
  FakeProducer endless(always(to_packet(maps)));
  auto client = ControlClient::connect(endless.path());
  ASSERT_TRUE(client);
  auto list = client->get_maps();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, EBADMSG);
}

}  // namespace
}  // namespace ebpf::ctl

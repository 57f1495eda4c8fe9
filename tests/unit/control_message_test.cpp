// SPDX-License-Identifier: Apache-2.0
#include "producer/control_message.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <vector>

namespace ebpf {
namespace {

std::vector<char> packet_of(ebpf_msg_type type, uint32_t bytes) {
  std::vector<char> packet(bytes);
  const ebpf_msg_header header = message_header(type, bytes);
  std::memcpy(packet.data(), &header, sizeof(header));
  return packet;
}

int verdict(const std::vector<char>& packet, int flags = 0) {
  auto checked = check_message(packet.data(), packet.size(), flags);
  return checked ? 0 : checked.error().code;
}

TEST(ControlMessage, AcceptsEachTypeAtItsExactLengthOnly) {
  for (int type = 0; type < 32; ++type) {
    for (uint32_t bytes = sizeof(ebpf_msg_header); bytes <= 64; ++bytes) {
      const bool header_only = type == EBPF_MSG_GET_STATS || type == EBPF_MSG_START ||
                               type == EBPF_MSG_STOP || type == EBPF_MSG_GET_OFFSETS;
      const bool is_page =
          type == EBPF_MSG_GET_RING || type == EBPF_MSG_GET_PROGRAMS || type == EBPF_MSG_GET_MAPS;
      const bool good = (header_only && bytes == sizeof(ebpf_msg_header)) ||
                        (type == EBPF_MSG_JOIN && bytes == sizeof(ebpf_msg_join)) ||
                        (is_page && bytes == sizeof(ebpf_msg_get_page)) ||
                        (type == EBPF_MSG_EVICT && bytes == sizeof(ebpf_msg_evict));
      EXPECT_EQ(verdict(packet_of(static_cast<ebpf_msg_type>(type), bytes)), good ? 0 : EBADMSG)
          << "type " << type << ", " << bytes << " bytes";
    }
  }
}

TEST(ControlMessage, RefusesAPacketThatIsShorterThanAHeader) {
  for (uint32_t bytes = 0; bytes < sizeof(ebpf_msg_header); ++bytes) {
    EXPECT_EQ(verdict(std::vector<char>(bytes)), EBADMSG);
  }
}

TEST(ControlMessage, RefusesAHeaderThatDoesNotFit) {
  const auto spoiled = [](auto change) {
    auto packet = packet_of(EBPF_MSG_GET_STATS, sizeof(ebpf_msg_header));
    change(reinterpret_cast<ebpf_msg_header*>(packet.data()));
    return verdict(packet);
  };
  EXPECT_EQ(spoiled([](ebpf_msg_header* h) { h->magic ^= 1; }), EBADMSG);
  EXPECT_EQ(spoiled([](ebpf_msg_header* h) { h->length_bytes += 1; }), EBADMSG);
  EXPECT_EQ(spoiled([](ebpf_msg_header* h) { h->length_bytes = 0; }), EBADMSG);
  EXPECT_EQ(spoiled([](ebpf_msg_header* h) { h->reserved = 1; }), EBADMSG);
  EXPECT_EQ(spoiled([](ebpf_msg_header* h) { h->version = 7; }), EPROTO);
}

TEST(ControlMessage, NamesBothVersions) {
  auto packet = packet_of(EBPF_MSG_GET_STATS, sizeof(ebpf_msg_header));
  reinterpret_cast<ebpf_msg_header*>(packet.data())->version = 7;
  auto checked = check_message(packet.data(), packet.size(), 0);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message,
            "protocol version 7 asked for, this producer speaks version 2");
}

TEST(ControlMessage, RefusesWhatTheKernelCutOff) {
  EXPECT_EQ(verdict(packet_of(EBPF_MSG_JOIN, sizeof(ebpf_msg_join)), MSG_TRUNC), EBADMSG);
  EXPECT_EQ(verdict(packet_of(EBPF_MSG_GET_STATS, sizeof(ebpf_msg_header)), MSG_CTRUNC), EBADMSG)
      << "descriptors came with it";
}

TEST(ControlMessage, SaysErrorsInPrintableAsciiThatFits) {
  const ebpf_msg_error message = error_message(EACCES, std::string(1000, 'a') + "\x1b[2J");
  EXPECT_EQ(message.error, EACCES);
  EXPECT_EQ(message.header.type, EBPF_MSG_ERROR);
  EXPECT_EQ(message.header.length_bytes, sizeof(message));
  EXPECT_EQ(std::strlen(message.text), sizeof(message.text) - 1);
  EXPECT_STREQ(error_message(1, "a\x1b[2J\nb\xff").text, "a?[2J?b?");
}

TEST(ControlMessage, MakesNamesPrintable) {
  const char name[EBPF_COMM_BYTES] = {'a', '\x1b', 'b', '\n'};
  EXPECT_EQ(printable_name(name), "a?b?");
  char full[EBPF_COMM_BYTES];
  std::memset(full, 'x', sizeof(full));
  EXPECT_EQ(printable_name(full), std::string(EBPF_COMM_BYTES - 1, 'x'));
}

}  // namespace
}  // namespace ebpf

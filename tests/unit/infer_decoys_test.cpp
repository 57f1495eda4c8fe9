// SPDX-License-Identifier: Apache-2.0
// What looks similar to one of the protocols, but is something else.
#include "tests/unit/infer_conversations.h"

namespace {

using namespace std::string_literals;

std::string hex(std::string_view digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}
std::string zeros(size_t count) { return std::string(count, '\0'); }

TEST(InferDecoys, AreNeverAnyOfTheProtocols) {
  const std::vector<std::pair<const char*, std::vector<Message>>> decoys = {
      {"TLS",
       {ask("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(506, 'r')),
        tell("\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03"s + std::string(84, 's'))}},
      {"SSH", {tell("SSH-2.0-OpenSSH_9.2p1\r\n"), ask("SSH-2.0-libssh\r\n")}},
      {"PostgreSQL", {ask("Q\0\0\0\x0dSELECT 1\0"s), tell("T\0\0\0\x21\0\1?column?\0........."s)}},
      {"PostgreSQL TLS", {ask(be(8, 4) + be(80877103, 4)), tell("S")}},
      {"memcached",
       {ask("get key\r\n"), tell("VALUE key 0 5\r\nhello\r\nEND\r\n"), ask("set k 0 0 1\r\nv\r\n"),
        tell("STORED\r\n")}},
      {"memcached binary",
       {ask("\x80\0\0\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0key"s),
        tell("\x81\0\0\0\4\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0hello"s)}},
      {"SMTP",
       {tell("220 mail.example ESMTP\r\n"), ask("EHLO me\r\n"), tell("250-mail\r\n250 OK\r\n")}},
      {"POP3", {tell("+OK ready\r\n"), ask("USER x\r\n"), tell("+OK\r\n"), tell("-ERR no\r\n")}},
      {"AMQP",
       {ask("AMQP\0\0\x09\1"s), tell("\1\0\0\0\0\0\x0c\0\x0a\0\x1e\7\xff\0\2\0\0\0<\xce"s),
        ask("\x08\0\0\0\0\0\0\xce"s)}},
      {"MQTT", {ask("\x10\x10\0\4MQTT\4\2\0<\0\4test"s), tell("\x20\2\0\0"s), ask("\xc0\0"s)}},
      {"NATS",
       {tell("INFO {\"server_id\":\"x\"}\r\n"), ask("CONNECT {\"verbose\":true}\r\n"),
        tell("+OK\r\n"), ask("PING\r\n"), tell("PONG\r\n")}},
      {"MongoDB",
       {ask(le(58, 4) + le(1, 4) + le(0, 4) + le(2013, 4) + std::string(42, '\1')),
        tell(le(40, 4) + le(2, 4) + le(1, 4) + le(2013, 4) + std::string(24, '\1'))}},
      {"Thrift", {ask(be(20, 4) + "\x80\1\0\1\0\0\0\4ping\0\0\0\1...."s)}},
      {"TNS", {ask("\0\x3a\0\0\1\0\0\0\1\x3e\1\x2c\0\0\x20\0"s + std::string(42, '\0'))}},
      {"FastCGI", {ask("\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0"s)}},
      {"ZMTP", {ask("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL"s)}},
      {"RocketMQ",
       {ask(be(60, 4) + be(40, 4) + "{\"code\":105,\"language\":\"JAVA\",\"x\":1}....")}},
      {"Pulsar", {ask("\0\0\0\x11\0\0\0\x0d\x08\2\x12\x09\x0a\3\x32\x2e\x38\x20\x0c..."s)}},
      {"gzip", {ask("\x1f\x8b\x08\0\0\0\0\0\0\3"s + std::string(100, '\x9a'))}},
      {"SIP", {ask("OPTIONS sip:user@host SIP/2.0\r\n"), tell("SIP/2.0 200 OK\r\n")}},
  };
  for (const auto& [name, messages] : decoys) {
    EXPECT_EQ(run(messages, true), std::vector<Told>{}) << name << ", client";
    EXPECT_EQ(run(messages, false), std::vector<Told>{}) << name << ", server";
  }
}

TEST(InferDecoys, InBinaryAreNeverAnyOfTheProtocols) {
  const std::string torrent =
      "\x13"
      "BitTorrent protocol" +
      zeros(8) + std::string(40, 'h');
  const std::vector<std::pair<const char*, std::vector<Message>>> decoys = {
      {"BitTorrent",
       {ask(torrent), tell(torrent), tell(hex("0000000102")), ask(hex("0000000101")),
        ask(hex("0000000504000001f4")), ask(hex("0000000504000001f40000000504000001f5")),
        ask(hex("0000000d06000000010000000000004000"))}},
      {"Cassandra",
       {ask(hex("0400000001000000160001000b43514c5f56455253494f4e0005332e302e30")),
        tell(hex("840000000200000000"))}},
      {"SQL Server", {ask(hex("1201002f00000100") + zeros(39)), tell(hex("0401002b00000100"))}},
      {"SMB", {ask(hex("00000054ff534d4272") + zeros(79)), tell(hex("000000aafe534d42"))}},
      {"LDAP",
       {ask(hex("300c020101600702010304008000")), tell(hex("300c02010161070a010004000400"))}},
      {"WebSocket",
       {ask(hex("81851234567868656c6c6f")), tell(hex("810568656c6c6f")), ask(hex("898061626364")),
        tell(hex("827e0100") + zeros(256))}},
      {"ZooKeeper",
       {ask(be(44, 4) + zeros(12) + be(30000, 4) + zeros(8) + be(16, 4) + zeros(16)),
        tell(be(37, 4) + zeros(4) + be(30000, 4) + be(5, 8) + be(16, 4) + zeros(17)),
        ask(be(17, 4) + be(1, 4) + be(3, 4) + be(4, 4) + "/foo" + zeros(1)),
        ask(be(8, 4) + hex("fffffffe") + be(11, 4))}},
      {"AMQP with channels",
       {ask(hex("010001000000050014000a00ce")), tell(hex("010001000000080014000b00000000ce")),
        ask(hex("01000000000005000a002900ce")), tell(hex("08000000000000ce"))}},
      {"FastCGI",
       {ask(hex("01010001000800000001000000000000") + hex("0104000100100000") + "0123456789abcdef"),
        tell(hex("0106000100240400") + "Content-type: text/html"),
        tell(hex("01030001000800000000000000000000"))}},
      {"RDP",
       {ask(hex("030000130ee000000000000100080003000000")),
        tell(hex("030000130ed000001234000200080002000000")), ask(hex("0300000702f080"))}},
      {"Modbus", {ask(hex("000100000006010300000001")), tell(hex("0001000000050103020064"))}},
      {"SOFA bolt",
       {ask(hex("0101000101000000010100000bb8002c0000000000")),
        tell(hex("0100000201000000010100000000000000"))}},
      {"ClickHouse",
       {ask("\0\x11"
            "ClickHouse client\x15\x08\xb2\xa9\3\0\7default\0"s)}},
      {"NSQ",
       {ask("  V2"), tell(hex("0000000600000000") + "OK"),
        tell(hex("0000000f00000000") + "_heartbeat_")}},
      {"OpenWire",
       {ask(hex("0000010c01") + "ActiveMQ" + zeros(250)),
        tell(hex("0000000a0a000000000000000000"))}},
      {"Tars", {ask(be(60, 4) + hex("10012c3c4001") + zeros(50))}},
      {"Diameter", {ask(hex("010000d480000101000000000000000100000002") + zeros(192))}},
      {"BGP", {ask(std::string(16, '\xff') + hex("001d0104fde800b4c0a8000100"))}},
      {"SOCKS", {ask(hex("050100")), tell(hex("0500")), ask(hex("050100017f0000010050"))}},
      {"telnet", {tell(hex("fffd18fffd20fffd23fffd27")), ask(hex("fffb18"))}},
      {"RFB", {tell("RFB 003.008\n"), ask("RFB 003.008\n"), tell(hex("0101")), ask(hex("01"))}},
      {"git", {ask("0032git-upload-pack /project.git\0host=myserver\0"s)}},
      {"IMAP",
       {tell("* OK IMAP4rev1 ready\r\n"), ask("a1 LOGIN x y\r\n"),
        tell("* 3 EXISTS\r\na1 OK done\r\n")}},
      {"FTP", {tell("220 ready\r\n"), ask("USER x\r\n"), tell("331 password?\r\n")}},
      {"RTSP", {ask("OPTIONS rtsp://h/ RTSP/1.0\r\n\r\n"), tell("RTSP/1.0 200 OK\r\n\r\n")}},
      {"STOMP", {ask("CONNECT\naccept-version:1.2\n\n\0"s), tell("CONNECTED\n\n\0"s)}},
  };
  for (const auto& [name, messages] : decoys) {
    EXPECT_EQ(run(messages, true), std::vector<Told>{}) << name << ", client";
    EXPECT_EQ(run(messages, false), std::vector<Told>{}) << name << ", server";
  }
}

TEST(InferDecoys, AreNoDnsInDatagrams) {
  for (const std::string& bytes :
       {hex("23000aec") + zeros(44), hex("240203e7") + zeros(44),             // NTP
        hex("0101060000020001") + zeros(228) + hex("63825363350101ff"),       // DHCP
        "\0\1file.txt\0octet\0"s, "\0\3\0\1"s + std::string(512, 'x'),        // TFTP
        hex("302902010004067075626c6963a01c0204010203040201000201003000"),    // SNMP
        hex("01010039") + std::string(53, 'r'),                               // RADIUS
        hex("40017d34bb2e77656c6c2d6b6e6f776e04636f7265"),                    // CoAP
        "M-SEARCH * HTTP/1.1\r\n"s, "\0\1\0\0\0\1\0\0get k\r\n"s,             // SSDP, memcached
        be(0x12345678, 4) + zeros(4) + be(2, 4) + be(100000, 4) + zeros(40),  // ONC RPC
        "\1\0\0\0\0\1"s + std::string(142, 'w'),                              // WireGuard
        hex("c30000000108") + std::string(1200, 'q'),                         // QUIC
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"s,          // BitTorrent
        // NetBIOS, what a node calls itself.
        "\x12\x34\0\0\0\1\0\0\0\0\0\0 CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\1"s,
        "\x1b"s + std::string(47, '\0'),                                     // NTP
        be(0x11110001, 4) + be(20, 4) + be(1, 4) + "\1\1\2\0............"s,  // SOME/IP
        "\0\1\0\0\x21\x12\xa4\x42............"s,                             // STUN
        "<34>Oct 11 22:14:15 host su: message"s,                             // syslog
        // NetBIOS: like DNS, but of type NB.
        "\x12\x34\1\x10\0\1\0\0\0\0\0\0 CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x20\0\1"s}) {
    EXPECT_TRUE(run({ask(bytes)}, true, false).empty()) << testing::PrintToString(bytes);
  }
  // The location of a service is of the type that NetBIOS uses for something else.
  const std::string service = "\x12\x34\1\0\0\1\0\0\0\0\0\0\4_sip\4_tcp\7example\3org\0\0\x21\0\1"s;
  EXPECT_EQ(run({ask(service)}, true, false), (std::vector<Told>{certain(120, 1)}));
  // Multicast announcements hold no question.
  const std::string announced =
      "\0\0\x84\0\0\0\0\1\0\0\0\0\4host\5local\0\0\1\x80\1\0\0\0x\0\4\x7f\0\0\1"s;
  EXPECT_EQ(run({tell(announced)}, true, false), (std::vector<Told>{certain(120, 2)}));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Packets made of records that no kernel would give, and of both ends of one connection.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "ctl/packets.h"

namespace ebpf::ctl {
namespace {

class Made {
 public:
  explicit Made(uint32_t cap_len) : bytes_((sizeof(ebpf_record) + cap_len) / 8 + 1) {
    SK_BPF_DATA& d = data();
    d.tuple.addr_len = 4;
    d.tuple.protocol = 6;
    d.tuple.laddr[0] = d.tuple.raddr[0] = 127;
    d.tuple.lport = 1000;
    d.tuple.rport = 80;
    d.socket_id = 1;
    d.tcp_seq = 0xfffffff0;
    d.timestamp = 5;
    d.syscall_len = d.cap_len = cap_len;
  }
  SK_BPF_DATA& data() { return record().data; }
  ebpf_record& record() { return *reinterpret_cast<ebpf_record*>(bytes_.data()); }

  // The same bytes, as their receiver tells them.
  Made received() const {
    Made other = *this;
    SK_BPF_DATA& d = other.data();
    std::swap(d.tuple.lport, d.tuple.rport);
    std::swap(d.tuple.laddr, d.tuple.raddr);
    d.direction = SOCK_DIR_RCV;
    d.socket_id = 2;
    return other;
  }

 private:
  std::vector<uint64_t> bytes_;
};

TEST(SeqRanges, GivesWhatIsMissingAcrossTheWrapAround) {
  SeqRanges seen;
  const SeqRange first = seen.place(0xfffffff0, 32);
  EXPECT_EQ(seen.missing(first).size(), 1u);
  seen.add(first);
  EXPECT_TRUE(seen.missing(first).empty());
  EXPECT_EQ(seen.next(), 16u);
  const auto parts = seen.missing(seen.place(8, 20));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(static_cast<uint32_t>(parts[0].begin), 16u);
  EXPECT_EQ(parts[0].end - parts[0].begin, 12u);
}

TEST(PacketMaker, WritesEachByteOfAConnectionOnce) {
  PacketMaker once(false);
  PacketMaker both(true);
  std::string out;
  Made sent(100);
  for (PacketMaker* maker : {&once, &both}) {
    maker->add(out, sent.record());
    maker->add(out, sent.received().record());
  }
  EXPECT_EQ(once.packets(), 1u);
  EXPECT_EQ(once.seen_twice(), 1u);
  EXPECT_EQ(both.packets(), 2u);
}

TEST(PacketMaker, CutsALongCallIntoSegments) {
  PacketMaker maker(false);
  std::string out;
  Made record(100);
  record.data().syscall_len = 200'000;
  maker.add(out, record.record());
  EXPECT_EQ(maker.packets(), 4u);
  EXPECT_LT(out.size(), 2000u);
}

TEST(PacketMaker, IsNotDrownedByImpossibleRecords) {
  PacketMaker maker(false);
  std::string out;
  Made record(0);
  record.data().syscall_len = UINT64_MAX;
  maker.add(out, record.record());
  EXPECT_LE(maker.packets(), 1024u);
  record.data().tuple.protocol = 17;
  maker.add(out, record.record());
  record.data().tuple.addr_len = 9;
  maker.add(out, record.record());
  EXPECT_EQ(maker.skipped(), 1u);
}

}  // namespace
}  // namespace ebpf::ctl

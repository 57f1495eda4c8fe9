// SPDX-License-Identifier: Apache-2.0
// The offsets table from BTF, by search, and what the tracer says of it.
#include <unistd.h>

#include <cstring>

#include "producer/offset_search.h"
#include "producer/offsets_btf.h"
#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const LogSink kSilent = [](LogLevel, const std::string&) {};

using Values = std::array<uint32_t, OFFSETS_TABLE_ENTRIES>;
Values values_of(const offsets_table& table) {
  Values values;
  std::memcpy(values.data(), &table, sizeof(table));
  return values;
}

TEST(Offsets, SearchFindsWhatBtfSays) {
  const auto btf = offsets_from_btf("", kSilent);
  if (!btf) GTEST_SKIP() << btf.error().message;
  const auto searched = search_offsets(kSilent);
  if (!searched && !std::getenv("CI")) GTEST_SKIP() << searched.error().message;
  ASSERT_TRUE(searched) << searched.error().message;
  const Values by_btf = values_of(*btf);
  const Values by_search = values_of(searched->table);
  for (size_t i = 0; i < by_btf.size(); i++)
    EXPECT_EQ(by_search[i], by_btf[i]) << offset_names()[i];
}

TEST(Offsets, TracerWorksWithSearchedOnes) {
  TracerOptions options = small_options({"Raw", AttachMode::kRaw, false});
  options.offsets = OffsetsMode::kSearch;
  EBPF_OPEN_TRACING(tracing, options);
  EXPECT_EQ(tracing->tracer().offsets_source(), EBPF_OFFSETS_SEARCH);
  const auto events = tracing->trace([] {
    Pair pair = connect_tcp(Family::kInet6);
    send_all(pair.client, "GET / HTTP/1.1\r\n\r\n");
    receive(pair.server);
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data.tcp_seq, events[1].data.tcp_seq);
  EXPECT_EQ(events[0].data.tuple.rport, events[1].data.tuple.lport);
}

TEST(Offsets, AreShownWithTheirNamesAndSource) {
  EBPF_OPEN_TRACING(tracing, small_options({"Raw", AttachMode::kRaw, false}));
  const auto entries = tracing->tracer().offsets();
  ASSERT_EQ(entries.size(), OFFSETS_TABLE_ENTRIES);
  ASSERT_LE(entries.size(), EBPF_OFFSET_ENTRIES_MAX);
  EXPECT_STREQ(entries[0].name, "task_struct.files");
  EXPECT_STREQ(entries.back().name, "tcp_sock.rcv_nxt");
  for (const auto& entry : entries) EXPECT_EQ(entry.source, tracing->tracer().offsets_source());
}

TEST(Offsets, FromAFileThatIsNoBtfAreRefusedWithItsName) {
  char path[] = "/tmp/ebpf-offsets-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write(fd, "no BTF here", 11), 11);
  close(fd);
  const auto table = offsets_from_btf(path, kSilent);
  unlink(path);
  ASSERT_FALSE(table);
  EXPECT_NE(table.error().message.find(path), std::string::npos) << table.error().message;
  const auto missing = offsets_from_btf(path, kSilent);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);
}

TEST(Offsets, ComeFromANamedFileToo) {
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) GTEST_SKIP() << "this kernel has no BTF";
  TracerOptions options = small_options({"Raw", AttachMode::kRaw, false});
  options.btf_file = "/sys/kernel/btf/vmlinux";
  EBPF_OPEN_TRACING(tracing, options);
  EXPECT_EQ(tracing->tracer().offsets_source(), EBPF_OFFSETS_FILE);
}

}  // namespace
}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
// 32-bit processes: their calls come through other numbers, registers and structs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "tests/bpf/tracing.h"
#include "tests/bpf/traffic.h"

namespace ebpf::test {
namespace {

const std::string kRequest = "GET /compat HTTP/1.1\r\nHost: old\r\n\r\n";
const std::string kResponse = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
constexpr int kNoCompat = 99;  // exit status: this kernel runs no 32-bit programs

class Compat : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(BothObjects, Compat, testing::ValuesIn(quick_variants()),
                         [](const auto& tested) { return tested.param.name; });

// Starts the 32-bit client with `tcp` as descriptor 3 and `udp` as 4. Gives its pid.
pid_t start_client(int tcp, int udp) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const int high_tcp = fcntl(tcp, F_DUPFD, 10);
  const int high_udp = fcntl(udp, F_DUPFD, 10);
  dup2(high_tcp, 3);
  dup2(high_udp, 4);
  execl(EBPF_COMPAT_CLIENT, EBPF_COMPAT_CLIENT, nullptr);
  _exit(errno == ENOEXEC ? kNoCompat : 98);
}

TEST_P(Compat, CallsOf32BitProcessesAreRecords) {
  TracerOptions options = small_options(GetParam());
  options.filters.allow_names = {"compat_client"};  // execve() names it so
  EBPF_OPEN_TRACING(tracing, options);
  Pair tcp = connect_tcp(Family::kInet);
  Pair udp = connect_udp(Family::kInet);
  const uint32_t sent_seq = next_send_seq(tcp.client);
  const uint32_t received_seq = next_receive_seq(tcp.client);
  for (int i = 0; i < 4; i++) send_all(tcp.server, kResponse);

  ASSERT_TRUE(tracing->tracer().start());
  const pid_t pid = start_client(tcp.client, udp.client);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(tracing->tracer().stop());
  const uint16_t udp_port = local_address(udp.server).port();
  tcp.close();
  udp.close();
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoCompat) {
    GTEST_SKIP() << "this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)";
  }
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "step " << WEXITSTATUS(status);

  const auto events = tracing->take(pid);
  const std::string query = dns_query("example.org");
  ASSERT_EQ(events.size(), 12u);
  uint32_t next[2] = {sent_seq, received_seq};
  for (size_t i = 0; i < events.size(); i++) {
    SCOPED_TRACE(i);
    const SK_BPF_DATA& data = events[i].data;
    const bool is_udp = i == 6 || i == 7;
    const uint8_t direction = i < 8 ? SOCK_DIR_SND : SOCK_DIR_RCV;
    EXPECT_EQ(data.direction, direction);
    EXPECT_EQ(events[i].payload, is_udp ? query : i < 8 ? kRequest : kResponse);
    EXPECT_EQ(data.syscall_len, events[i].payload.size());
    EXPECT_EQ(data.tuple.protocol, is_udp ? IPPROTO_UDP : IPPROTO_TCP);
    if (is_udp) {
      EXPECT_EQ(data.tuple.rport, udp_port);
      continue;
    }
    EXPECT_EQ(data.tcp_seq, next[direction]);
    next[direction] += static_cast<uint32_t>(data.syscall_len);
  }
}

// What a 64-bit process can do, too. `rdi` and `rsi` say what its 64-bit twin would take.
long int80(long number, long first, long second, long third, long rdi, const void* rsi) {
  long result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(first), "c"(second), "d"(third), "D"(rdi), "S"(rsi)
               : "r8", "r9", "r10", "r11", "memory");
  return result;
}

bool int80_works() {
  constexpr long kGetpid = 20;
  const pid_t pid = fork();
  if (pid == 0) _exit(int80(kGetpid, 0, 0, 0, 0, nullptr) == getpid() ? 0 : 1);
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// 19 is lseek() there, and readv() here.
TEST_P(Compat, CallsByInt80AreNotTakenForOthers) {
  if (!int80_works()) GTEST_SKIP() << "this kernel has no int 0x80 (CONFIG_IA32_EMULATION)";
  EBPF_OPEN_TRACING(tracing, small_options(GetParam()));
  const auto events = tracing->trace([&] {
    constexpr long kLseek = 19;
    Pair pair = connect_tcp(Family::kInet);
    const int file = memfd_create("seek", 0);
    char room[64] = "what a readv() would have read";
    const iovec vector = {room, sizeof(room)};
    send_all(pair.client, kRequest);
    require(int80(kLseek, file, 5, SEEK_CUR, pair.client, &vector) == 5, "lseek");
    send_all(pair.client, kRequest);
    return 0;
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].data.cap_seq, 1u);
  EXPECT_EQ(events[1].data.direction, SOCK_DIR_SND);
}

}  // namespace
}  // namespace ebpf::test

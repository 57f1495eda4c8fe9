// SPDX-License-Identifier: Apache-2.0
// The offsets that the search finds, held against the kernel's BTF; and what it says when
// something that it needs is really denied.
#include "producer/offset_search.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "libebpf/detail/unique_fd.h"
#include "producer/bpf_rights.h"
#include "producer/offset_search_candidates.h"
#include "producer/offset_search_steps.h"
#include "producer/offsets_btf.h"

namespace ebpf {
namespace {

constexpr uint32_t kWords = OFFSETS_TABLE_ENTRIES;

uint32_t word_of(const offsets_table& table, uint32_t i) {
  uint32_t words[kWords];
  std::memcpy(words, &table, sizeof(words));
  return words[i];
}

void expect_equal(const offsets_table& found, const offsets_table& expected) {
  for (uint32_t i = 0; i < kWords; i++)
    EXPECT_EQ(word_of(found, i), word_of(expected, i)) << offset_names()[i];
}

// Tests that need BPF, and the table that BTF gives.
class OffsetSearch : public testing::Test {
 protected:
  void SetUp() override {
    if (auto rights = check_bpf_rights(); !rights) {
      if (std::getenv("CI")) FAIL() << rights.error().message;
      GTEST_SKIP() << rights.error().message;
    }
    auto btf = offsets_from_btf("", nullptr);
    if (!btf) GTEST_SKIP() << btf.error().message;
    btf_ = *btf;
  }

  offsets_table btf_{};
};

// Runs `prepare`, then a search, in a child process. The text is "ok" or the error.
std::string search_in_child(const std::function<bool()>& prepare) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe failed";
  pid_t child = fork();
  if (child == 0) {
    std::string text = "could not prepare";
    if (prepare()) {
      auto searched = search_offsets(nullptr);
      text = searched ? "ok" : searched.error().message;
      if (searched && !searched->has_ipv6) text += " without IPv6";
    }
    _exit(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof(part))) > 0;)
    text.append(part, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) text += " (child ended badly)";
  return text;
}

// From now on the system call `number` returns `error` (0: it does nothing and says that it
// did) in this process, if the argument `argument` is `value`.
bool deny(long number, uint32_t argument, uint32_t value, uint32_t error) {
  const uint32_t at = static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * argument;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offsetof(seccomp_data, nr))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#define EXPECT_SAYS(text, part) \
  EXPECT_NE((text).find(part), std::string::npos) << "said: " << (text)

TEST_F(OffsetSearch, FindsWhatBtfSays) {
  auto searched = search_offsets(nullptr);
  ASSERT_TRUE(searched) << searched.error().message;
  expect_equal(searched->table, btf_);
  EXPECT_GE(searched->cpus_checked, 1u);
}

// CPU time, because a busy machine may keep us waiting.
double cpu_seconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

TEST_F(OffsetSearch, FindsTheSameEveryTimeAndInWellUnderASecond) {
  constexpr int kRuns = 20;
  double start = cpu_seconds();
  for (int i = 0; i < kRuns; i++) {
    auto searched = search_offsets(nullptr);
    ASSERT_TRUE(searched) << "run " << i << ": " << searched.error().message;
    expect_equal(searched->table, btf_);
  }
  EXPECT_LT((cpu_seconds() - start) / kRuns, 0.3);
}

TEST_F(OffsetSearch, ChecksEveryCpuThatItMayUse) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  auto searched = search_offsets(nullptr);
  ASSERT_TRUE(searched) << searched.error().message;
  EXPECT_EQ(searched->cpus_checked, static_cast<uint32_t>(CPU_COUNT(&allowed)));
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&allowed, &after));
}

std::vector<std::string> entries_of(const char* path) {
  std::vector<std::string> names;
  DIR* folder = opendir(path);
  for (dirent* entry; folder && (entry = readdir(folder)) != nullptr;)
    names.push_back(entry->d_name);
  if (folder) closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

// The ids of the loaded programs that have the name of the search's.
std::vector<uint32_t> search_programs() {
  std::vector<uint32_t> found;
  for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
    UniqueFd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) == 0 &&
        std::string(info.name) == "copy_kernel_mem")
      found.push_back(id);
  }
  return found;
}

// Within three seconds: a joined thread is still on its way out of the kernel for a moment,
// and programs are freed with a delay.
bool soon(const std::function<bool()>& holds) {
  for (int i = 0; i < 300 && !holds(); i++)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return holds();
}

TEST_F(OffsetSearch, LeavesNothingBehind) {
  auto descriptors = entries_of("/proc/self/fd");
  auto threads = entries_of("/proc/self/task");
  auto programs = search_programs();
  for (bool succeeds : {true, false}) {
    rlimit before;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit during = {succeeds ? before.rlim_cur : 32, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &during), 0);
    auto searched = search_offsets(nullptr);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(searched.has_value(), succeeds);
    EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
    EXPECT_TRUE(soon([&] { return entries_of("/proc/self/task") == threads; }));
  }
  // Other tests may search at the same time; their programs come and go, too.
  EXPECT_TRUE(soon([&] { return search_programs().size() <= programs.size(); }));
}

TEST_F(OffsetSearch, IsNotDisturbedByABusyProcessWithManyDescriptors) {
  std::vector<UniqueFd> held;
  for (int i = 0; i < 400; i++) held.emplace_back(dup(0));
  ASSERT_TRUE(held.back());
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; t++) {
    busy.emplace_back([&] {
      while (!stop) {
        int ends[2];
        UniqueFd udp(socket(AF_INET, SOCK_DGRAM, 0)), tcp(socket(AF_INET, SOCK_STREAM, 0));
        if (pipe(ends) != 0) continue;
        UniqueFd reading(ends[0]), writing(ends[1]);
      }
    });
  }
  for (int i = 0; i < 5; i++) {
    auto searched = search_offsets(nullptr);
    EXPECT_TRUE(searched) << searched.error().message;
    if (searched) expect_equal(searched->table, btf_);
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

TEST_F(OffsetSearch, TwoSearchesAtOnceDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 2; t++) {
    threads.emplace_back([&] {
      auto searched = search_offsets(nullptr);
      if (searched && std::memcmp(&searched->table, &btf_, sizeof(btf_)) == 0) right++;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 2);
}

TEST_F(OffsetSearch, WorksWithoutIpv6) {
  std::string said = search_in_child([] { return deny(SYS_socket, 0, AF_INET6, EAFNOSUPPORT); });
  EXPECT_EQ(said, "ok without IPv6");
}

TEST_F(OffsetSearch, NamesTheFieldWhoseEvidenceIsDenied) {
  struct Case {
    long call;
    uint32_t argument, value, error;
    const char* says;
    const char* says_too;
  };
  const Case cases[] = {
      {SYS_setsockopt, 2, SO_KEEPALIVE, EPERM, "sock.sk_flags", "Operation not permitted"},
      // Told that it worked, though nothing was set: nothing in the kernel fits.
      {SYS_setsockopt, 2, SO_BROADCAST, 0, "sock.sk_flags", "0 offsets fit"},
      {SYS_socket, 1, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, EACCES, "file.f_inode",
       "Permission denied"},
      {SYS_shutdown, 1, SHUT_WR, EPERM, "sock.skc_state", "Operation not permitted"},
      {SYS_sendto, 2, 17, EPERM, "tcp_sock.copied_seq", "Operation not permitted"},
      {SYS_pipe2, 1, O_CLOEXEC, EMFILE, "files_struct.fdt", "Too many open files"},
      {SYS_perf_event_open, 1, 0, EPERM, "perf_event_open", "Operation not permitted"},
      {SYS_unshare, 0, CLONE_FILES, EPERM, "unshare(CLONE_FILES)", "Operation not permitted"}};
  for (const Case& denied : cases) {
    std::string said = search_in_child(
        [&] { return deny(denied.call, denied.argument, denied.value, denied.error); });
    EXPECT_SAYS(said, denied.says);
    EXPECT_SAYS(said, denied.says_too);
  }
}

TEST_F(OffsetSearch, SaysThatLoopbackIsDown) {
  std::string said = search_in_child([] { return unshare(CLONE_NEWNET) == 0; });
  EXPECT_SAYS(said, "is the loopback interface up?");
}

TEST_F(OffsetSearch, SaysThatTooFewDescriptorsAreAllowed) {
  std::string said = search_in_child([] {
    rlimit few = {80, 80};
    return setrlimit(RLIMIT_NOFILE, &few) == 0;
  });
  EXPECT_SAYS(said, "RLIMIT_NOFILE");
}

TEST_F(OffsetSearch, SaysWhichRightIsMissing) {
  constexpr uid_t kNobody = 65534;
  std::string said = search_in_child([] { return setuid(kNobody) == 0; });
  EXPECT_SAYS(said, "CAP_BPF");
}

// ---- sk_protocol on kernels that cannot be run here ----

// The part of a sock that holds protocol and type, in the layouts of three ranges of kernels.
enum class Layout { kBitField, kTypeFirst, kProtocolFirst };

search::Window sock_part(Layout layout, uint8_t protocol, uint8_t type) {
  search::Window window;
  window.bytes.assign(64, 0xee);
  uint8_t* at = window.bytes.data() + 24;
  const uint8_t bit_field[] = {0x0a, protocol, type, 0};    // 4.14: flags:8 protocol:8 type:16
  const uint8_t type_first[] = {type, 0, protocol, 0};      // 5.6
  const uint8_t protocol_first[] = {protocol, 0, type, 0};  // 6.9
  const uint8_t* bytes = layout == Layout::kBitField    ? bit_field
                         : layout == Layout::kTypeFirst ? type_first
                                                        : protocol_first;
  std::copy(bytes, bytes + 4, at);
  return window;
}

TEST(ProtocolField, IsOneByteInTheBitFieldAndTwoBytesElsewhere) {
  struct Case {
    Layout layout;
    uint32_t offset, bytes;
  };
  for (const Case& expected : {Case{Layout::kBitField, 25, 1}, Case{Layout::kTypeFirst, 26, 2},
                               Case{Layout::kProtocolFirst, 24, 2}}) {
    search::Candidates byte("sock.sk_protocol", 1, 64), word("sock.sk_protocol", 2, 64);
    for (auto [protocol, type] : {std::pair<uint8_t, uint8_t>{6, 1}, {17, 2}, {253, 3}}) {
      auto window = sock_part(expected.layout, protocol, type);
      byte.keep(window, protocol);
      word.keep(window, uint16_t{protocol});
    }
    auto field = search::protocol_field(byte, word);
    ASSERT_TRUE(field) << field.error().message;
    EXPECT_EQ(field->offset, expected.offset);
    EXPECT_EQ(field->bytes, expected.bytes);
  }
}

TEST(Candidates, AreAnErrorUnlessExactlyOneIsLeft) {
  search::Window window;
  window.bytes = {1, 0, 1, 0, 2, 0};
  search::Candidates field("some.field", 2, 16);
  field.keep(window, uint16_t{1});
  auto several = field.only();
  ASSERT_FALSE(several);
  EXPECT_SAYS(several.error().message, "some.field: 2 offsets fit after 1 comparisons");
  EXPECT_SAYS(several.error().message, "0, 2");
  window.bytes[0] = 3;
  field.keep(window, uint16_t{1});
  ASSERT_TRUE(field.only());
  EXPECT_EQ(*field.only(), 2u);
  field.keep(window, uint16_t{7});
  EXPECT_FALSE(field.only());
}

}  // namespace
}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// What another user can do with the descriptors that a consumer is given: read the ring,
// write its own control page, and nothing else. With the seal against future writing, and
// without it, as on kernels before 5.1.
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "tests/fault/fault_support.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif

namespace ebpf::fault {
namespace {

constexpr uid_t kNobody = 65534;

// Says what was possible that must not be; the number of such things.
class Attempts {
 public:
  void refused(bool succeeded, const char* what) {
    if (!succeeded) return;
    printf("possible, and must not be: %s\n", what);
    fflush(stdout);
    ++failures_;
  }
  int failures() const { return failures_; }

 private:
  int failures_ = 0;
};

bool can_map_writable(int fd, size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  munmap(at, bytes);
  return true;
}

void try_mapping(Attempts& attempts, int fd, size_t bytes) {
  attempts.refused(can_map_writable(fd, bytes), "a writable mapping of the ring");
  void* at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  attempts.refused(at == MAP_FAILED, "not even reading it");
  attempts.refused(mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect to writable");
  attempts.refused(madvise(at, bytes, MADV_REMOVE) == 0, "MADV_REMOVE");
  // Only this process's view may go; what the kernel drops it must read again as it was.
  const uint64_t magic = *static_cast<const uint64_t*>(at);
  (void)madvise(at, bytes, MADV_DONTNEED);
  attempts.refused(*static_cast<const volatile uint64_t*>(at) != magic, "MADV_DONTNEED to erase");

  const uint64_t word = 0x4141414141414141ull;
  const UniqueFd self(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  attempts.refused(!self, "not even opening /proc/self/mem");
  const auto place = reinterpret_cast<off_t>(at);
  attempts.refused(pwrite(self.get(), &word, sizeof word, place) > 0, "/proc/self/mem");
  iovec from{const_cast<uint64_t*>(&word), sizeof word};
  iovec to{at, sizeof word};
  attempts.refused(process_vm_writev(getpid(), &from, 1, &to, 1, 0) > 0, "process_vm_writev");
  attempts.refused(process_vm_writev(getppid(), &from, 1, &to, 1, 0) > 0,
                   "process_vm_writev to the parent");
  munmap(at, bytes);
}

void try_descriptor(Attempts& attempts, int fd, size_t bytes) {
  const char text[] = "no";
  attempts.refused(write(fd, text, 2) > 0, "write");
  attempts.refused(pwrite(fd, text, 2, 4096) > 0, "pwrite");
  attempts.refused(ftruncate(fd, 0) == 0, "ftruncate to nothing");
  attempts.refused(ftruncate(fd, static_cast<off_t>(bytes) * 2) == 0, "ftruncate to more");
  attempts.refused(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0,
                   "a punched hole");
  attempts.refused(fallocate(fd, 0, 0, static_cast<off_t>(bytes) * 2) == 0, "fallocate");
  for (const int seal :
       {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_FUTURE_WRITE}) {
    attempts.refused(fcntl(fd, F_ADD_SEALS, seal) == 0, "one more seal");
  }
  attempts.refused(fchmod(fd, 0777) == 0, "fchmod");
  attempts.refused(fchown(fd, kNobody, kNobody) == 0, "fchown");
  // Harmless: these flags are of this open file, which the producer does not use.
  fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_RDWR);
  attempts.refused((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY, "fcntl to another access mode");
  attempts.refused(pwrite(fd, text, 2, 4096) > 0, "pwrite after fcntl");
}

// With the seal the kernel may open it for writing, and then refuses every way to write.
void try_reopening(Attempts& attempts, int fd, size_t bytes, bool sealed) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  for (const int mode : {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC}) {
    const UniqueFd again(open(path.c_str(), mode | O_CLOEXEC));
    attempts.refused(static_cast<bool>(again), "to open it again for writing");
    if (!again || !sealed) continue;
    attempts.refused(can_map_writable(again.get(), bytes), "a writable mapping, opened again");
    attempts.refused(pwrite(again.get(), "no", 2, 4096) > 0, "pwrite, opened again");
  }
  attempts.refused(truncate(path.c_str(), 0) == 0, "truncate by name");
  attempts.refused(chmod(path.c_str(), 0777) == 0, "chmod by name");
}

// Its own, and nothing that could raise SIGBUS in the producer.
void try_control_page(Attempts& attempts, int fd) {
  attempts.refused(!can_map_writable(fd, EBPF_CONTROL_BYTES), "not even writing its own page");
  attempts.refused(ftruncate(fd, 0) == 0, "to cut its control page off");
  attempts.refused(ftruncate(fd, 1 << 20) == 0, "to let its control page grow");
  attempts.refused(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0, "one more seal on its page");
  (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, EBPF_CONTROL_BYTES);
}

int try_everything(const std::string& path, bool sealed) {
  RawJoin join;
  if (!join_raw(path, join)) return 100;
  if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) return 101;
  // As any process of that user: its own /proc entries are open to it.
  prctl(PR_SET_DUMPABLE, 1);
  Attempts attempts;
  const size_t bytes = join.joined.data_bytes;
  try_mapping(attempts, join.data.get(), bytes);
  try_descriptor(attempts, join.data.get(), bytes);
  try_reopening(attempts, join.data.get(), bytes, sealed);
  try_control_page(attempts, join.control.get());
  return attempts.failures();
}

// What the ring holds, while nobody writes.
std::vector<uint8_t> snapshot(const std::string& path) {
  RawJoin join;
  if (!join_raw(path, join)) return {};
  std::vector<uint8_t> bytes(join.joined.data_bytes);
  EXPECT_EQ(pread(join.data.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  return bytes;
}

void expect_safe(bool future_write_seal) {
  RingOptions options = small_options();
  options.future_write_seal = future_write_seal;
  Stage stage(options);
  const Process witness = stage.witness(0);
  stage.publish(2000);
  stage.wait_all_told(0);
  const std::vector<uint8_t> before = snapshot(stage.path);
  ASSERT_FALSE(before.empty());

  Process attacker([&] { return try_everything(stage.path, future_write_seal); });
  EXPECT_EQ(attacker.wait(), 0);
  EXPECT_EQ(snapshot(stage.path), before);

  // And all the while that the ring is written.
  for (int round = 0; round < 20; ++round) {
    Process another([&] { return try_everything(stage.path, future_write_seal); });
    for (int burst = 0; burst < 10; ++burst) stage.publish(300);
    stage.wait_all_told(0);
    EXPECT_EQ(another.wait(), 0);
  }
  EXPECT_TRUE(stage.wait_attached(1, 1'000'000));
}

TEST(MemorySecurity, AnotherUserCannotTouchASealedRing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  expect_safe(true);
}

TEST(MemorySecurity, AnotherUserCannotTouchARingWithoutTheSeal) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  expect_safe(false);
}

// With the seal not even root, or the producer's own user, gets write access through the
// descriptors themselves.
TEST(MemorySecurity, TheProducersOwnUserCannotWriteThroughADescriptor) {
  Stage stage;
  const Process witness = stage.witness(0);
  stage.publish(1000);
  stage.wait_all_told(0);
  RawJoin join;
  ASSERT_TRUE(join_raw(stage.path, join));
  const size_t bytes = join.joined.data_bytes;
  EXPECT_FALSE(can_map_writable(join.data.get(), bytes));
  EXPECT_LT(pwrite(join.data.get(), "no", 2, 0), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(join.data.get());
  const UniqueFd again(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (again) {
    EXPECT_FALSE(can_map_writable(again.get(), bytes));
    EXPECT_LT(pwrite(again.get(), "no", 2, 0), 0);
    EXPECT_NE(ftruncate(again.get(), 0), 0);
    EXPECT_NE(fallocate(again.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  }
  stage.publish(1000);
  stage.wait_all_told(0);
}

}  // namespace
}  // namespace ebpf::fault

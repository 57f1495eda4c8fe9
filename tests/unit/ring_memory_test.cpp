// SPDX-License-Identifier: Apache-2.0
// What a consumer can and cannot do with the memory that it is given.
#include "producer/ring_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "ring_support.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace ebpf {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

RingOptions options_with(bool future_write) {
  RingOptions options;
  options.ring_records = 64;
  options.future_write_seal = future_write;
  return options;
}

UniqueFd reopen(int fd, int flags) {
  return UniqueFd(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC));
}

bool maps_writable(int fd) {
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  munmap(at, 4096);
  return true;
}

bool can_become_writable(int fd) {
  void* at = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  EXPECT_NE(at, MAP_FAILED);
  const bool writable = mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0;
  const bool removable = madvise(at, 4096, MADV_REMOVE) == 0;
  munmap(at, 4096);
  return writable || removable;
}

void expect_no_change_through(int fd) {
  EXPECT_FALSE(maps_writable(fd));
  EXPECT_FALSE(can_become_writable(fd));
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(ftruncate(fd, 1 << 30), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST(RingMemory, GivesConsumersNothingThatTheyCanWrite) {
  Ring ring(options_with(true));
  if (!ring.writer->write_sealed()) GTEST_SKIP() << "no F_SEAL_FUTURE_WRITE before Linux 5.1";
  const int fd = ring.writer->read_only_fd();
  EXPECT_EQ(fcntl(fd, F_GET_SEALS) & (kSizeSeals | F_SEAL_FUTURE_WRITE),
            kSizeSeals | F_SEAL_FUTURE_WRITE);
  expect_no_change_through(fd);

  // Root may open it for writing through /proc; it does not help.
  const UniqueFd again = reopen(fd, O_RDWR);
  if (again) expect_no_change_through(again.get());

  // The producer goes on all the same.
  ring.write(0, 100, 0xab);
  EXPECT_EQ(Walker(*ring.writer).records(0).size(), 1u);
}

TEST(RingMemory, IsReadOnlyWithoutTheFutureWriteSealToo) {
  Ring ring(options_with(false));
  EXPECT_FALSE(ring.writer->write_sealed());
  const int fd = ring.writer->read_only_fd();
  EXPECT_EQ(fcntl(fd, F_GET_SEALS) & (kSizeSeals | F_SEAL_FUTURE_WRITE), kSizeSeals);
  expect_no_change_through(fd);
  ring.write(0, 100, 0xab);
  EXPECT_EQ(Walker(*ring.writer).records(0).size(), 1u);
}

TEST(RingMemory, CannotBeOpenedForWritingByAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  Ring ring(options_with(false));
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    _exit(reopen(ring.writer->read_only_fd(), O_RDWR) ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RingMemory, HasTheExactSizeAndNarrowPermissions) {
  Ring ring(options_with(true));
  struct stat about {};
  ASSERT_EQ(fstat(ring.writer->read_only_fd(), &about), 0);
  EXPECT_EQ(static_cast<uint64_t>(about.st_size), ring.writer->header().total_bytes);
  EXPECT_EQ(about.st_mode & 07777, 0400u);
  EXPECT_EQ(fcntl(ring.writer->read_only_fd(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_TRUE(fcntl(ring.writer->read_only_fd(), F_GETFD) & FD_CLOEXEC);
}

TEST(RingMemory, SaysWhenThereCannotBeSoMuch) {
  auto memory = RingMemory::create("test", 1ull << 62, 0400);
  ASSERT_FALSE(memory);
  EXPECT_NE(memory.error().message.find("4611686018427387904 bytes"), std::string::npos)
      << memory.error().message;
}

TEST(RingMemory, LeavesNoDescriptorBehind) {
  const size_t before = open_descriptors();
  for (int i = 0; i < 100; ++i) Ring ring(options_with(i % 2 == 0));
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace ebpf

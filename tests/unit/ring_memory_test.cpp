// SPDX-License-Identifier: Apache-2.0
// What a consumer can and cannot do with the memory that it is given.
#include "producer/ring_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "libebpf/control.h"
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

// ---- where it lies ----------------------------------------------------------------

std::string read_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// A setting of the system, as the test needs it; put back afterwards.
class Setting {
 public:
  Setting(std::string path, const std::string& before, const std::string& value)
      : path_(std::move(path)), before_(before) {
    std::ofstream(path_) << value << std::flush;
  }
  ~Setting() { std::ofstream(path_) << before_ << std::flush; }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  std::string path_;
  std::string before_;
};

constexpr char kHugePages[] = "/proc/sys/vm/nr_hugepages";
constexpr char kTransparent[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

long free_huge_pages() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (line.rfind("HugePages_Free:", 0) == 0) return std::stol(line.substr(15));
  }
  return 0;
}

RingOptions placed(bool prefault, bool huge_pages, int numa_node = -1) {
  RingOptions options;
  options.ring_records = 4096;
  options.memory = {prefault, huge_pages, numa_node};
  return options;
}

size_t missing_pages(const RingWriter& writer) {
  const size_t pages = writer.header().total_bytes / 4096;
  std::vector<unsigned char> resident(pages);
  EXPECT_EQ(mincore(const_cast<ebpf_ring_header*>(&writer.header()), pages * 4096, resident.data()),
            0);
  return static_cast<size_t>(
      std::count_if(resident.begin(), resident.end(), [](auto r) { return (r & 1) == 0; }));
}

TEST(RingPlacement, PrefaultsTheReserveOnlyWhenAsked) {
  const Ring plain(placed(false, false));
  EXPECT_GT(missing_pages(*plain.writer), 0u);
  const Ring full(placed(true, false));
  EXPECT_EQ(missing_pages(*full.writer), 0u);
  EXPECT_EQ(full.writer->pages(), EBPF_PAGES_PLAIN);
}

void expect_huge_pages() {
  const std::string before = read_line(kHugePages);
  const Setting some(kHugePages, before, std::to_string(std::atol(before.c_str()) + 32));
  const bool possible = free_huge_pages() >= 24 && hugetlb_keeps_seals(hugetlb_page_bytes());
  Ring ring(placed(false, true));
  EXPECT_EQ(ring.writer->pages() == EBPF_PAGES_HUGETLB, possible);
  if (possible) {
    EXPECT_EQ(ring.writer->header().total_bytes % hugetlb_page_bytes(), 0u);
  }
  expect_no_change_through(ring.writer->read_only_fd());
  for (int i = 0; i < 5000; ++i) ring.write(0, 100, 7);
  const Walker walker(*ring.writer);
  EXPECT_GE(walker.records(0).size(), 4096u);
  printf("huge pages were %s\n", possible ? "taken" : "not to be had");
}

void expect_to_go_on_without() {
  const Setting none(kHugePages, read_line(kHugePages), "0");
  if (free_huge_pages() > 0) return;  // we may not take them away
  Ring ring(placed(false, true));
  EXPECT_NE(ring.writer->pages(), EBPF_PAGES_HUGETLB);
  ring.write(0, 100, 7);
  EXPECT_EQ(Walker(*ring.writer).records(0).size(), 1u);
}

void expect_transparent_pages() {
  const Setting none(kHugePages, read_line(kHugePages), "0");
  const std::string modes = read_line(kTransparent);
  const size_t from = modes.find('[') + 1;
  const std::string before = modes.substr(from, modes.find(']') - from);
  const Setting advise(kTransparent, before, "advise");
  const bool allowed = read_line(kTransparent).find("[advise]") != std::string::npos;
  Ring ring(placed(false, true));
  if (!allowed) {
    EXPECT_EQ(ring.writer->pages(), EBPF_PAGES_PLAIN);
  }
  expect_no_change_through(ring.writer->read_only_fd());
  ring.write(0, 100, 7);
  EXPECT_EQ(Walker(*ring.writer).records(0).size(), 1u);
  printf("transparent huge pages are %s, the ring is on kind %u\n",
         allowed ? "allowed" : "not allowed", ring.writer->pages());
}

// One test: they change the same settings of the system.
TEST(RingPlacement, TakesTheHugePagesThatTheSystemHas) {
  expect_huge_pages();
  expect_to_go_on_without();
  expect_transparent_pages();
}

TEST(RingPlacement, BindsToANodeOrSaysWhichThereAre) {
  const std::string nodes = read_line("/sys/devices/system/node/has_memory");
  RingOptions options = placed(false, false, 999);
  ConsumerSlots slots(options.max_consumers, options.lane_count, 1);
  auto refused = RingWriter::create(options, slots);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EINVAL);
  EXPECT_EQ(refused.error().message, "there is no NUMA node 999; nodes with memory: " +
                                         (nodes.empty() ? std::string("not known") : nodes));
  options.memory.numa_node = std::atoi(nodes.c_str());
  auto bound = RingWriter::create(options, slots);
  if (nodes.empty()) {  // a kernel without NUMA
    EXPECT_FALSE(bound);
    return;
  }
  ASSERT_TRUE(bound) << bound.error().message;
  char at[32];
  std::snprintf(at, sizeof at, "%lx ", reinterpret_cast<unsigned long>(&(*bound)->header()));
  std::ifstream maps("/proc/self/numa_maps");
  std::string policy;
  for (std::string line; std::getline(maps, line);) {
    if (line.rfind(at, 0) == 0) policy = line;
  }
  EXPECT_NE(policy.find("bind:" + std::to_string(options.memory.numa_node)), std::string::npos)
      << policy;
}

}  // namespace
}  // namespace ebpf

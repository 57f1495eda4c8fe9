// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_placement.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "libebpf/detail/unique_fd.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif

namespace ebpf {
namespace {

constexpr int kNodesMax = 1024;

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

UniqueFd make_hugetlb(const char* name) {
  return UniqueFd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
}

std::string first_line(const char* path) {
  const File file(std::fopen(path, "re"), std::fclose);
  char line[256] = "";
  if (!file || std::fgets(line, sizeof line, file.get()) == nullptr) return "";
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

// Whether a list as "0-1,4" has the number.
bool list_has(const std::string& list, int number) {
  const char* at = list.c_str();
  while (*at != '\0') {
    char* end = nullptr;
    const long low = std::strtol(at, &end, 10);
    if (end == at) return false;
    const long high = *end == '-' ? std::strtol(end + 1, &end, 10) : low;
    if (number >= low && number <= high) return true;
    at = *end == ',' ? end + 1 : "";
  }
  return false;
}

// Whether somebody who holds the descriptor can change the sealed page after all.
bool can_write(int fd, uint64_t bytes) {
  void* writable = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (writable != MAP_FAILED) {
    munmap(writable, bytes);
    return true;
  }
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) ==
      0) {
    return true;
  }
  void* readable = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (readable == MAP_FAILED) return true;  // of no use to anybody
  const bool turned = mprotect(readable, bytes, PROT_READ | PROT_WRITE) == 0;
  munmap(readable, bytes);
  return turned;
}

}  // namespace

uint64_t hugetlb_page_bytes() {
  const UniqueFd fd = make_hugetlb("libebpf-probe");
  struct statfs about {};
  if (!fd || fstatfs(fd.get(), &about) != 0) return 0;
  return static_cast<uint64_t>(about.f_bsize);
}

bool hugetlb_keeps_seals(uint64_t page_bytes) {
  const UniqueFd fd = make_hugetlb("libebpf-probe");
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(page_bytes)) != 0) return false;
  void* ours = mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (ours == MAP_FAILED) return false;
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE;
  const bool kept = fcntl(fd.get(), F_ADD_SEALS, seals) == 0 && !can_write(fd.get(), page_bytes);
  munmap(ours, page_bytes);
  return kept;
}

bool has_transparent_pages(const void* base) {
  const File file(std::fopen("/proc/self/smaps", "re"), std::fclose);
  const auto wanted = reinterpret_cast<uintptr_t>(base);
  bool inside = false;
  char line[512];
  while (file && std::fgets(line, sizeof line, file.get()) != nullptr) {
    uintptr_t start = 0;
    uintptr_t end = 0;
    uint64_t kib = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2) {
      if (inside) return false;
      inside = start <= wanted && wanted < end;
    } else if (inside && std::sscanf(line, "ShmemPmdMapped: %" SCNu64, &kib) == 1) {
      return kib > 0;
    }
  }
  return false;
}

Result<> bind_to_node(void* base, uint64_t bytes, int node) {
  const std::string nodes = first_line("/sys/devices/system/node/has_memory");
  const std::string asked = "NUMA node " + std::to_string(node);
  if (node < 0 || node >= kNodesMax || (!nodes.empty() && !list_has(nodes, node))) {
    return Error{EINVAL, "there is no " + asked +
                             "; nodes with memory: " + (nodes.empty() ? "not known" : nodes)};
  }
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kNodesMax / kBits] = {};
  mask[static_cast<size_t>(node) / kBits] = 1ul << (static_cast<size_t>(node) % kBits);
  if (syscall(SYS_mbind, base, bytes, MPOL_BIND, mask, kNodesMax + 1, 0) != 0) {
    return errno_error("cannot bind the ring to " + asked + " (mbind)");
  }
  return Unit{};
}

}  // namespace ebpf

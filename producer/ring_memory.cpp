// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <boost/interprocess/exceptions.hpp>
#include <new>
#include <string>

#include "libebpf/control.h"

// Newer than the headers that we build with.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace ebpf {
namespace {

namespace bip = boost::interprocess;

// Lets Boost map a descriptor that has no name in any file system.
struct MemfdMappable {
  int fd;
  bip::mapping_handle_t get_mapping_handle() const { return {fd, false}; }
};

int create_memfd(const char* name, unsigned more_flags) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | more_flags;
  const int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return memfd_create(name, flags);
}

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

Result<RingMemory> RingMemory::create(const char* name, uint64_t bytes, uint32_t mode,
                                      const MemoryOptions& options) {
  RingMemory memory;
  memory.options_ = options;
  if (auto made = memory.open_memfd(name, bytes); !made) return made.error();
  // A memfd is born open for everybody who reaches it through /proc.
  if (fchmod(memory.fd_.get(), mode) != 0) return errno_error("cannot restrict shared memory");
  if (options.numa_node >= 0) {
    auto bound = bind_to_node(memory.base(), memory.bytes(), options.numa_node);
    if (!bound) return bound.error();
  }
  return memory;
}

// With hugetlb pages if they are wanted, free, and as safe as others; else with those that
// everybody has.
Result<> RingMemory::open_memfd(const char* name, uint64_t bytes) {
  const uint64_t page = options_.huge_pages ? hugetlb_page_bytes() : 0;
  if (page != 0 && hugetlb_keeps_seals(page)) {
    fd_ = UniqueFd(create_memfd(name, MFD_HUGETLB));
    huge_page_bytes_ = page;
    // Mapping it reserves the pages: none can be missing later.
    if (fd_ && size_and_map((bytes + page - 1) / page * page)) return Unit{};
    huge_page_bytes_ = 0;
  }
  fd_ = UniqueFd(create_memfd(name, 0));
  if (!fd_) return errno_error("cannot create shared memory (memfd_create)");
  return size_and_map(bytes);
}

Result<> RingMemory::size_and_map(uint64_t bytes) {
  if (ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return errno_error("cannot size shared memory to " + bytes_text(bytes));
  }
  try {
    region_ = bip::mapped_region(MemfdMappable{fd_.get()}, bip::read_write, 0, bytes);
  } catch (const bip::interprocess_exception& failure) {
    return errno_error("cannot map " + bytes_text(bytes) + " of shared memory",
                       failure.get_native_error());
  } catch (const std::bad_alloc&) {
    return errno_error("cannot map shared memory", ENOMEM);
  }
  return Unit{};
}

Result<> RingMemory::reserve(uint64_t bytes) {
  if (options_.prefault || huge_page_bytes_ != 0) bytes = this->bytes();
  // Transparent huge pages come with faults, not with fallocate(): first those, as far as
  // there is memory, then the certainty that there is.
  if (options_.huge_pages && huge_page_bytes_ == 0) {
    (void)madvise(base(), this->bytes(), MADV_HUGEPAGE);
    (void)madvise(base(), bytes, MADV_POPULATE_WRITE);
  }
  if (fallocate(fd_.get(), 0, 0, static_cast<off_t>(bytes)) != 0 && errno != EOPNOTSUPP) {
    return errno_error("not enough memory for a ring of " + bytes_text(bytes));
  }
  populate(bytes);
  if (huge_page_bytes_ != 0) {
    pages_ = EBPF_PAGES_HUGETLB;
  } else if (options_.huge_pages && has_transparent_pages(base())) {
    pages_ = EBPF_PAGES_TRANSPARENT;
  }
  return Unit{};
}

// Saves the faults of the first lap. Kernels before 5.14 cannot do it in one call: they take
// the faults one by one, now if that was asked for.
void RingMemory::populate(uint64_t bytes) {
  if (madvise(base(), bytes, MADV_POPULATE_WRITE) == 0 || !options_.prefault) return;
  for (uint64_t at = 0; at < bytes; at += 4096) {
    *reinterpret_cast<volatile uint8_t*>(base() + at) = 0;
  }
}

Result<UniqueFd> RingMemory::open_read_only() const {
  const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) return fd;
  const int error = errno;
  const char* hint = error == ENOENT ? " (is /proc mounted?)" : "";
  return errno_error("cannot open shared memory read-only through " + path + hint, error);
}

Result<bool> RingMemory::seal(bool future_write) {
  const int size_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (future_write) {
    if (fcntl(fd_.get(), F_ADD_SEALS, size_seals | F_SEAL_FUTURE_WRITE) == 0) return true;
    if (errno != EINVAL) return errno_error("cannot seal shared memory");
  }
  if (fcntl(fd_.get(), F_ADD_SEALS, size_seals) != 0) {
    return errno_error("cannot seal shared memory");
  }
  return false;
}

}  // namespace ebpf

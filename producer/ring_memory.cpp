// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <boost/interprocess/exceptions.hpp>
#include <new>
#include <string>

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

int create_memfd(const char* name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return memfd_create(name, flags);
}

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

Result<RingMemory> RingMemory::create(const char* name, uint64_t bytes, uint32_t mode) {
  RingMemory memory;
  memory.fd_ = UniqueFd(create_memfd(name));
  if (!memory.fd_) return errno_error("cannot create shared memory (memfd_create)");
  if (ftruncate(memory.fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return errno_error("cannot size shared memory to " + bytes_text(bytes));
  }
  try {
    memory.region_ = bip::mapped_region(MemfdMappable{memory.fd_.get()}, bip::read_write, 0, bytes);
  } catch (const bip::interprocess_exception& failure) {
    return errno_error("cannot map " + bytes_text(bytes) + " of shared memory",
                       failure.get_native_error());
  } catch (const std::bad_alloc&) {
    return errno_error("cannot map shared memory", ENOMEM);
  }
  // A memfd is born open for everybody who reaches it through /proc.
  if (fchmod(memory.fd_.get(), mode) != 0) return errno_error("cannot restrict shared memory");
  return memory;
}

Result<> RingMemory::reserve(uint64_t bytes) {
  if (fallocate(fd_.get(), 0, 0, static_cast<off_t>(bytes)) != 0 && errno != EOPNOTSUPP) {
    return errno_error("not enough memory for a ring of " + bytes_text(bytes));
  }
  // Only saves faults on the first lap; kernels that cannot do it take them one by one.
  (void)madvise(base(), bytes, MADV_POPULATE_WRITE);
  return Unit{};
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

// SPDX-License-Identifier: Apache-2.0
#include "consumer/shared_mapping.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <boost/interprocess/exceptions.hpp>

#include "libebpf/ring_layout.h"

namespace ebpf {
namespace {

namespace bip = boost::interprocess;

// What Boost asks of something to map: here a descriptor that somebody else owns. The
// mapping outlives it.
class ReceivedFd {
 public:
  explicit ReceivedFd(int fd) : fd_(fd) {}
  bip::mapping_handle_t get_mapping_handle() const {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

Error bad(const char* what, const std::string& problem) {
  return {EBADMSG, std::string("the ") + what + " memory of the producer " + problem};
}

// Size of a memfd that can no longer shrink.
Result<uint64_t> sealed_size(int fd, const char* what) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return bad(what, "is no memfd, or one that cannot be sealed");
  if ((seals & F_SEAL_SHRINK) == 0) return bad(what, "is not sealed against shrinking");
  struct stat status {};
  if (fstat(fd, &status) != 0) return errno_error(std::string("fstat of the ") + what + " memory");
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

Result<SharedMapping> SharedMapping::map_data(int fd, uint64_t announced_bytes) {
  const char* what = "data";
  Result<uint64_t> size = sealed_size(fd, what);
  if (!size) return size.error();
  if (*size != announced_bytes || *size < sizeof(ebpf_ring_header)) {
    return bad(what, "has " + std::to_string(*size) + " bytes, announced were " +
                         std::to_string(announced_bytes));
  }
  return map(fd, *size, Access::kReadOnly, what);
}

Result<SharedMapping> SharedMapping::map_control(int fd, uint64_t announced_bytes) {
  const char* what = "control";
  Result<uint64_t> size = sealed_size(fd, what);
  if (!size) return size.error();
  if (announced_bytes != EBPF_CONTROL_BYTES || *size < EBPF_CONTROL_BYTES) {
    return bad(what, "has " + std::to_string(*size) + " bytes, announced were " +
                         std::to_string(announced_bytes) + ", needed are " +
                         std::to_string(EBPF_CONTROL_BYTES));
  }
  return map(fd, EBPF_CONTROL_BYTES, Access::kReadWrite, what);
}

Result<SharedMapping> SharedMapping::map(int fd, size_t bytes, Access access, const char* what) {
  SharedMapping mapping;
  try {
    const bip::mode_t mode = access == Access::kReadOnly ? bip::read_only : bip::read_write;
    mapping.region_ = bip::mapped_region(ReceivedFd(fd), mode, 0, bytes);
  } catch (const bip::interprocess_exception& failure) {
    const int code = failure.get_native_error() > 0 ? failure.get_native_error() : EIO;
    return errno_error("cannot map the " + std::string(what) + " memory of the producer", code);
  }
  return mapping;
}

}  // namespace ebpf

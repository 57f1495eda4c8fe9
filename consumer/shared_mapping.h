// SPDX-License-Identifier: Apache-2.0
// Maps the memory that the producer passed over the control socket, after it has made sure
// that nobody can cut it short under us (a SIGBUS) any more.
#pragma once

#include <cstddef>
#include <cstdint>

#include <boost/interprocess/mapped_region.hpp>

#include "libebpf/detail/result.h"

namespace ebpf {

class SharedMapping {
 public:
  enum class Access { kReadOnly, kReadWrite };

  SharedMapping() = default;
  // `what` names the memory in errors. EBADMSG: no memfd, not sealed against shrinking, or
  // not of the size that was announced (data: exactly, control: at least).
  static Result<SharedMapping> map_data(int fd, uint64_t announced_bytes);
  static Result<SharedMapping> map_control(int fd, uint64_t announced_bytes);

  void* base() const { return region_.get_address(); }
  size_t size() const { return region_.get_size(); }

 private:
  static Result<SharedMapping> map(int fd, size_t bytes, Access access, const char* what);

  boost::interprocess::mapped_region region_;
};

}  // namespace ebpf

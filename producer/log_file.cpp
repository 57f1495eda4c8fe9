// SPDX-License-Identifier: Apache-2.0
#include "producer/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "libebpf/detail/escape.h"

namespace ebpf {

Result<UniqueFd> open_log_file(const std::string& file) {
  UniqueFd fd(::open(file.c_str(),
                     O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640));
  if (!fd) return errno_error("cannot open the log file " + escape(file));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return errno_error("cannot stat the log file " + escape(file));
  if (!S_ISREG(status.st_mode)) return Error{EINVAL, escape(file) + " is not a regular file"};
  return fd;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "ctl/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

Error failed(const std::string& what, const std::string& path) {
  return {EIO, errno_error(what + " " + escape(path)).message};
}

bool is_stream(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 &&
         (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

}  // namespace

bool is_regular_file(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

Result<> remove_regular_file(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return Unit{};
    return failed("cannot look at", path);
  }
  if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
    return Error{EIO, escape(path) + " is not a regular file"};
  }
  if (::unlink(path.c_str()) != 0) return failed("cannot replace", path);
  return Unit{};
}

std::string set_aside(const std::string& path) {
  const std::string part = path + ".part";
  if (::rename(path.c_str(), part.c_str()) == 0) {
    return "what was written is in " + escape(part);
  }
  return "the file is not whole, and cannot be renamed to " + escape(part);
}

Result<UniqueFd> create_output(const std::string& path, bool force) {
  if (is_stream(path)) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd) return failed("cannot open", path);
    return fd;
  }
  if (force) {
    if (auto removed = remove_regular_file(path); !removed) return removed.error();
  }
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd) return fd;
  Error error = failed("cannot create", path);
  if (errno == EEXIST) error.message += "; --force replaces it";
  return error;
}

Result<> write_file(const std::string& path, std::string_view content, bool force) {
  auto fd = create_output(path, force);
  if (!fd) return fd.error();
  while (!content.empty()) {
    const ssize_t written = ::write(fd->get(), content.data(), content.size());
    if (written > 0) {
      content.remove_prefix(static_cast<size_t>(written));
    } else if (written == 0 || errno != EINTR) {
      Error error = failed("cannot write to", path);
      if (!is_stream(path)) ::unlink(path.c_str());
      return error;
    }
  }
  return Unit{};
}

}  // namespace ebpf::ctl

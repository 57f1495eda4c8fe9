// SPDX-License-Identifier: Apache-2.0
#include "producer/control_listener.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "libebpf/control.h"

namespace ebpf {
namespace {

constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kBacklog = 64;
constexpr int kLockAttempts = 16;

std::string lock_path(const std::string& path) { return path + ".lock"; }

Result<> check_path(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{EINVAL, "the socket path is empty or holds a zero byte"};
  }
  if (path.size() > kPathBytesMax) {
    return Error{ENAMETOOLONG, "socket path " + path + " is " + std::to_string(path.size()) +
                                   " bytes long, at most " + std::to_string(kPathBytesMax) +
                                   " are possible"};
  }
  return Unit{};
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Agents of other users must be able to reach the socket, whatever our umask is.
Result<> make_parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return Unit{};
  const std::string parent = path.substr(0, slash);
  if (mkdir(parent.c_str(), 0755) != 0) {
    if (errno == EEXIST) return Unit{};
    return errno_error("cannot make directory " + parent + " for the control socket");
  }
  const UniqueFd made(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made || fchmod(made.get(), 0755) != 0) {
    return errno_error("cannot set the mode of directory " + parent);
  }
  return Unit{};
}

std::string holder_of(int lock) {
  char text[16] = {};
  const ssize_t count = pread(lock, text, sizeof(text) - 1, 0);
  const long pid = count > 0 ? std::strtol(text, nullptr, 10) : 0;
  return pid > 0 ? "pid " + std::to_string(pid) : std::string("pid not known");
}

bool write_pid(int lock) {
  const std::string text = std::to_string(getpid()) + "\n";
  return ftruncate(lock, 0) == 0 &&
         pwrite(lock, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

// Whether the lock file at `path` is still the file that `lock` refers to.
bool still_there(int lock, const std::string& path) {
  struct stat held {};
  struct stat named {};
  return fstat(lock, &held) == 0 && lstat(path.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

// Reads /etc/group itself: a lookup through NSS may load code and wait for a network.
std::optional<gid_t> find_group(const char* name) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/etc/group", "re"), std::fclose);
  if (!file) return std::nullopt;
  group entry{};
  group* found = nullptr;
  char buffer[16384];
  while (fgetgrent_r(file.get(), &entry, buffer, sizeof(buffer), &found) == 0) {
    if (std::strcmp(found->gr_name, name) == 0) return found->gr_gid;
  }
  return std::nullopt;
}

}  // namespace

Result<ControlListener> ControlListener::open(const std::string& path, const LogSink& log) {
  if (auto checked = check_path(path); !checked) return checked.error();
  if (auto made = make_parent(path); !made) return made.error();
  ControlListener listener(path);
  if (auto locked = listener.take_lock(); !locked) return locked.error();
  if (auto replaced = listener.replace_stale(); !replaced) return replaced.error();
  if (auto bound = listener.bind_socket(); !bound) return bound.error();
  listener.hand_to_group(log);
  return listener;
}

ControlListener::~ControlListener() {
  if (!lock_) return;
  struct stat now {};
  if (socket_ && lstat(path_.c_str(), &now) == 0 && now.st_dev == bound_device_ &&
      now.st_ino == bound_inode_) {
    unlink(path_.c_str());
  }
  // Last, and while it is still held: whoever locks the removed file notices and retries.
  unlink(lock_path(path_).c_str());
}

Result<> ControlListener::take_lock() {
  const std::string name = lock_path(path_);
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    // Mode 0600: whoever can read a file can also lock it, and keep us out.
    UniqueFd lock(
        ::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    if (!lock) return errno_error("cannot open lock file " + name);
    struct stat about {};
    if (fstat(lock.get(), &about) != 0) return errno_error("cannot examine lock file " + name);
    if (!S_ISREG(about.st_mode)) {
      return Error{EEXIST, "lock file " + name + " is not a regular file"};
    }
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return errno_error("cannot lock " + name);
      return Error{EADDRINUSE,
                   "another producer (" + holder_of(lock.get()) + ") already serves " + path_};
    }
    if (!still_there(lock.get(), name)) continue;  // its last owner has just removed it
    if (!write_pid(lock.get())) return errno_error("cannot write lock file " + name);
    lock_ = std::move(lock);
    return Unit{};
  }
  return Error{EAGAIN, "lock file " + name + " keeps being replaced"};
}

// With the lock in hand, a socket that is there is a dead producer's, unless somebody
// listens on it all the same.
Result<> ControlListener::replace_stale() {
  struct stat about {};
  if (lstat(path_.c_str(), &about) != 0) {
    if (errno == ENOENT) return Unit{};
    return errno_error("cannot look at " + path_);
  }
  if (!S_ISSOCK(about.st_mode)) {
    return Error{EEXIST, path_ + " exists and is not a socket; it is not replaced"};
  }
  const UniqueFd probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return errno_error("cannot create a socket");
  const sockaddr_un address = address_of(path_);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno != ECONNREFUSED) {
    return Error{EADDRINUSE, "another program serves " + path_};
  }
  if (unlink(path_.c_str()) != 0) return errno_error("cannot remove the stale socket " + path_);
  return Unit{};
}

Result<> ControlListener::bind_socket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("cannot create the control socket");
  const sockaddr_un address = address_of(path_);
  // The mode is right from the first moment on; nothing is changed by path afterwards.
  const mode_t before = umask(0117);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  umask(before);
  if (bound != 0) return errno_error("cannot bind the control socket " + path_, error);

  struct stat about {};
  if (lstat(path_.c_str(), &about) == 0) {
    bound_device_ = about.st_dev;
    bound_inode_ = about.st_ino;
  }
  socket_ = std::move(fd);
  if (listen(socket_.get(), kBacklog) != 0) return errno_error("cannot listen on " + path_);
  return Unit{};
}

void ControlListener::hand_to_group(const LogSink& log) const {
  const std::optional<gid_t> group = find_group(EBPF_SOCKET_GROUP);
  if (!group) return;
  const UniqueFd file(::open(path_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat about {};
  if (file && fstat(file.get(), &about) == 0 && about.st_ino == bound_inode_ &&
      about.st_dev == bound_device_ &&
      fchownat(file.get(), "", static_cast<uid_t>(-1), *group, AT_EMPTY_PATH) == 0) {
    return;
  }
  if (log) {
    log(LogLevel::kWarn,
        errno_error("cannot give " + path_ + " to group " + EBPF_SOCKET_GROUP).message);
  }
}

}  // namespace ebpf

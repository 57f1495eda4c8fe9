// SPDX-License-Identifier: Apache-2.0
// The listening end of the control socket in the file system: one producer per path,
// stale files replaced, right owner and mode, everything removed at the end.
#pragma once

#include <sys/types.h>

#include <string>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/log.h"

namespace ebpf {

class ControlListener {
 public:
  // Binds `path` as a non-blocking SOCK_SEQPACKET listener. EADDRINUSE names the producer
  // that already serves it.
  static Result<ControlListener> open(const std::string& path, const LogSink& log);

  ControlListener(ControlListener&&) noexcept = default;
  ControlListener& operator=(ControlListener&&) = delete;
  // Removes the socket, if it is still the one that was bound here, and the lock file.
  ~ControlListener();

  int fd() const { return socket_.get(); }

 private:
  explicit ControlListener(std::string path) : path_(std::move(path)) {}
  Result<> take_lock();
  Result<> replace_stale();
  Result<> bind_socket();
  void hand_to_group(const LogSink& log) const;

  std::string path_;
  UniqueFd lock_;
  UniqueFd socket_;
  dev_t bound_device_ = 0;
  ino_t bound_inode_ = 0;
};

}  // namespace ebpf

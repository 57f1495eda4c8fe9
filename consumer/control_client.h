// SPDX-License-Identifier: Apache-2.0
// A tool's connection to a producer's control socket: sends a request, takes exactly the
// answer that belongs to it. Trusts nothing that comes back before it is checked.
#pragma once

#include <chrono>
#include <string>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

// Error codes of everything below:
//   ENOENT, ECONNREFUSED  no producer at that path
//   EACCES, EPERM         not allowed to connect, or the producer refused the request
//   EPROTO                the producer speaks another version
//   EBADMSG               an answer that cannot be valid
//   ETIMEDOUT             no answer in time
//   ENAMETOOLONG          the path does not fit a socket address
//   EREMOTEIO             the producer answered with another error, which the message tells
class ControlClient {
 public:
  static constexpr std::chrono::milliseconds kTimeout{1000};

  // Connects; together with the first answer this takes at most `timeout`.
  static Result<ControlClient> connect(const std::string& path,
                                       std::chrono::milliseconds timeout = kTimeout);

  Result<ebpf_msg_stats> get_stats();
  Result<ebpf_msg_offsets> get_offsets();
  Result<> start();
  Result<> stop();

 private:
  using Clock = std::chrono::steady_clock;

  ControlClient(UniqueFd fd, std::string path, std::chrono::milliseconds timeout,
                Clock::time_point deadline)
      : fd_(std::move(fd)), path_(std::move(path)), timeout_(timeout), deadline_(deadline) {}

  // Sends a header-only request and reads the answer of type `answer_type` into the
  // `answer_bytes` at `answer`.
  Result<> exchange(uint16_t request_type, uint16_t answer_type, void* answer, size_t answer_bytes);
  Result<> send_request(uint16_t type);
  Result<size_t> receive(void* packet, size_t packet_bytes);
  Result<> wait_readable();
  Error timed_out() const;

  UniqueFd fd_;
  std::string path_;
  std::chrono::milliseconds timeout_;
  Clock::time_point deadline_;
};

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// A tool's connection to a producer's control socket: sends a request, takes exactly the
// answer that belongs to it. Trusts nothing that comes back before it is checked.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

// The whole of a list that comes in pages.
struct RingState {
  ebpf_msg_ring ring;  // without the rows
  std::vector<ebpf_consumer_row> consumers;
};
struct ProgramList {
  uint32_t statistics;  // EBPF_STATISTICS_*
  std::vector<ebpf_program_row> rows;
};

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
  Result<RingState> get_ring();
  // The kernel counts runs from here on, until this client is gone.
  Result<ProgramList> get_programs();
  Result<std::vector<ebpf_map_row>> get_maps();
  Result<> evict(uint32_t consumer_id);

 private:
  using Clock = std::chrono::steady_clock;

  ControlClient(UniqueFd fd, std::string path, std::chrono::milliseconds timeout,
                Clock::time_point deadline)
      : fd_(std::move(fd)), path_(std::move(path)), timeout_(timeout), deadline_(deadline) {}

  // Sends a request and reads the answer of type `answer_type` into the `answer_bytes` at
  // `answer`.
  Result<> exchange(const void* request, size_t request_bytes, uint16_t answer_type, void* answer,
                    size_t answer_bytes);
  // The same for a request that is a header alone.
  Result<> exchange(uint16_t request_type, uint16_t answer_type, void* answer, size_t answer_bytes);
  template <class Message>
  Result<Message> get_page(uint16_t request_type, uint16_t answer_type, uint32_t from);
  Result<> send_request(const void* request, size_t request_bytes);
  Result<size_t> receive(void* packet, size_t packet_bytes);
  Result<> wait_readable();
  Error timed_out() const;

  UniqueFd fd_;
  std::string path_;
  std::chrono::milliseconds timeout_;
  Clock::time_point deadline_;
  bool answered_ = false;
};

}  // namespace ebpf

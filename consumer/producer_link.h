// SPDX-License-Identifier: Apache-2.0
// The consumer's end of the control socket: connect, JOIN, and notice what comes later.
// Never blocks; whoever uses it waits on the descriptor.
#pragma once

#include <optional>
#include <string>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

// What a producer hands to a consumer that joins.
struct JoinAnswer {
  ebpf_msg_joined message{};
  UniqueFd data;
  UniqueFd control;
};

class ProducerLink {
 public:
  // Connects and sends JOIN. EAGAIN: the producer has no room for the connection just now.
  static Result<ProducerLink> connect(const std::string& path, const std::string& name);

  int fd() const { return socket_.get(); }

  // The answer to JOIN; nothing while it is not there yet. Errors: the one that the
  // producer answered (EUSERS …), EPROTO another version, EBADMSG not a valid answer,
  // ECONNRESET it hung up.
  Result<std::optional<JoinAnswer>> receive_answer();

  // Takes in what came since: doorbells. False: the connection is over, because the
  // producer hung up or sent what it must not.
  bool drain();
  // After that: why the producer ended it, in its own words; code 0: it did not say.
  const Error& reason() const { return reason_; }

 private:
  ProducerLink(UniqueFd socket, std::string path)
      : socket_(std::move(socket)), path_(std::move(path)) {}

  UniqueFd socket_;
  std::string path_;
  Error reason_{};
};

}  // namespace ebpf

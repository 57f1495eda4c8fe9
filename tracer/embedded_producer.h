// SPDX-License-Identifier: Apache-2.0
// The producer that a program becomes where none runs: the daemon's, with a control thread.
#pragma once

#include <memory>
#include <thread>

#include "libebpf/detail/unique_fd.h"
#include "producer/producer.h"

namespace ebpf {

class EmbeddedProducer {
 public:
  // Everything is up when it returns, so that it can be reached at options.socket_path.
  static Result<std::unique_ptr<EmbeddedProducer>> create(const ProducerOptions& options,
                                                          const LogSink& log);
  // Ends the ring and removes the socket.
  ~EmbeddedProducer();

 private:
  EmbeddedProducer(std::unique_ptr<Producer> producer, UniqueFd stop);

  std::unique_ptr<Producer> producer_;
  UniqueFd stop_;  // an eventfd
  std::thread control_thread_;
};

}  // namespace ebpf

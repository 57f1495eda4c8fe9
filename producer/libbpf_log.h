// SPDX-License-Identifier: Apache-2.0
// What libbpf says, while somebody listens. libbpf has one print callback for the whole
// process; whoever calls it holds one of these for that time.
#pragma once

#include <mutex>
#include <string>

#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

// As errno_error(), for errno as libbpf leaves it: above 4000 stand errors of its own, which
// strerror() does not know. Those become EINVAL.
Error libbpf_error(const std::string& what, int code = errno);

class LibbpfLog {
 public:
  // Everything goes to `sink` at debug level; warnings are also kept.
  explicit LibbpfLog(const LogSink& sink);
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  // The last lines of what libbpf warned of, the verifier's words included, as one line.
  std::string last_words() const;
  void clear();

  class Listener;

 private:
  std::unique_lock<std::mutex> one_at_a_time_;
};

}  // namespace ebpf

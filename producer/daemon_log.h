// SPDX-License-Identifier: Apache-2.0
// The daemon's log: spdlog to stderr, or to a file.
#pragma once

#include <string>

#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

// `file` empty: stderr. A file is appended to, made with mode 0640 when missing, must be a
// regular one, and is never reached through a symbolic link in its last component.
Result<LogSink> open_daemon_log(const std::string& file, bool verbose);

}  // namespace ebpf

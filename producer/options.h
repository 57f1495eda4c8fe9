// SPDX-License-Identifier: Apache-2.0
// The command line of ebpf-producer.
#pragma once

#include <optional>
#include <string>

#include "producer/producer.h"

namespace ebpf {

// Exit codes of ebpf-producer.
enum ExitCode {
  kExitOk = 0,
  kExitFailure = 1,     // something it needs failed while it ran or started
  kExitBadOption = 2,   // the command line
  kExitNoKernel = 3,    // the kernel refuses: a privilege or a feature is missing
  kExitSocketBusy = 4,  // another producer serves the socket
};

struct CommandLine {
  ProducerOptions producer;
  std::string log_file;  // empty: stderr
  bool verbose = false;
};

// Fills *line. A value: exit with it at once (help and version are printed to stdout, what
// is wrong with an option to stderr, in one line).
std::optional<int> parse_command_line(int argc, char** argv, CommandLine* line);

}  // namespace ebpf

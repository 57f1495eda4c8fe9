// SPDX-License-Identifier: Apache-2.0
// What the subcommands share: the options of the command line and the exit codes.
#pragma once

#include <functional>
#include <string>

#include "libebpf/detail/result.h"

namespace CLI {
class App;
}

namespace ebpf::ctl {

// The exit codes are part of the interface: scripts branch on them.
enum ExitCode {
  kExitOk = 0,
  kExitFailure = 1,
  kExitBadOption = 2,
  kExitNotRunning = 3,
  kExitNoPermission = 4,
  kExitVersionMismatch = 5,
};

struct Options {
  std::string socket_path;
  std::string output = "text";
  bool verbose = false;
  bool color = false;

  bool json() const { return output == "json"; }
};

// What a subcommand gives: the text for standard output, and what the program ends with.
struct Output {
  explicit Output(std::string what, int code = kExitOk) : text(std::move(what)), exit_code(code) {}

  std::string text;
  int exit_code;
};

// What the chosen subcommand does, run after the whole command line was read: its output,
// or why there is none.
using Action = std::function<Result<Output>()>;

// Each adds its OBJECT with its COMMANDs; parsing sets `action`. The references live
// until the action has run.
void add_tracer(CLI::App& app, const Options& options, Action& action);
void add_socktrace(CLI::App& app, const Options& options, Action& action);
void add_check(CLI::App& app, const Options& options, Action& action);

}  // namespace ebpf::ctl

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

// A command's Error with this code ends the program with kExitBadOption.
constexpr int kBadOption = ENAMETOOLONG;

struct Options {
  std::string socket_path;
  std::string output = "text";
  std::string color_when;  // "": never asked for, "auto", "always", "never"
  double watch_s = 0;      // 0: once
  bool verbose = false;
  bool color = false;  // what color_when, the environment and the terminal come to

  bool json() const { return output == "json"; }
};

// What a subcommand gives: the text for standard output, and what the program ends with.
// One that streams writes by itself (write_output() of ctl/terminal.h) and gives no text.
struct Output {
  explicit Output(std::string what, int code = kExitOk) : text(std::move(what)), exit_code(code) {}

  std::string text;
  int exit_code;
};

// What the chosen subcommand does, run after the whole command line was read: its output,
// or why there is none.
using Run = std::function<Result<Output>()>;

class Action {
 public:
  Action() = default;
  template <class Function>
  Action(Function run) : run_(std::move(run)) {}
  // For commands that only look: --watch may run them again and again.
  static Action repeatable(Run run) {
    Action action(std::move(run));
    action.repeatable_ = true;
    return action;
  }

  Result<Output> operator()() const { return run_(); }
  bool is_repeatable() const { return repeatable_; }

 private:
  Run run_;
  bool repeatable_ = false;
};

// Each adds its OBJECT with its COMMANDs; parsing sets `action`. The references live
// until the action has run.
void add_tracer(CLI::App& app, const Options& options, Action& action);
void add_socktrace(CLI::App& app, const Options& options, Action& action);
void add_ring(CLI::App& app, const Options& options, Action& action);
void add_loss(CLI::App& app, const Options& options, Action& action);
void add_probe(CLI::App& app, const Options& options, Action& action);
void add_map(CLI::App& app, const Options& options, Action& action);
void add_top(CLI::App& app, const Options& options, Action& action);
void add_check(CLI::App& app, const Options& options, Action& action);
void add_metrics(CLI::App& app, const Options& options, Action& action);
void add_flow(CLI::App& app, const Options& options, Action& action);
void add_pcap(CLI::App& app, const Options& options, Action& action);
void add_record(CLI::App& app, const Options& options, Action& action);
void add_tail(CLI::App& app, const Options& options, Action& action);

}  // namespace ebpf::ctl

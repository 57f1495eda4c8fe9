// SPDX-License-Identifier: Apache-2.0
// ebpfctl: shows and steers a running producer over its control socket.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "ctl/command_line.h"
#include "ctl/terminal.h"
#include "libebpf/control.h"
#include "libebpf/detail/escape.h"

namespace {

using namespace ebpf::ctl;

constexpr const char* kClearScreen = "\033[H\033[2J";

std::string default_socket_path() {
  const char* path = std::getenv(EBPF_SOCKET_ENV);
  return path && *path ? path : EBPF_SOCKET_DEFAULT;
}

int exit_code(const ebpf::Error& error) {
  switch (error.code) {
    case ENOENT:
    case ECONNREFUSED:
      return kExitNotRunning;
    case EACCES:
    case EPERM:
      return kExitNoPermission;
    case EPROTO:
      return kExitVersionMismatch;
    case kBadOption:
      return kExitBadOption;
    default:
      return kExitFailure;
  }
}

int fail(const ebpf::Error& error) {
  std::fprintf(stderr, "ebpfctl: %s\n", ebpf::one_line(error.message, 1000).c_str());
  return exit_code(error);
}

int bad_option(const std::string& why) {
  return fail({kBadOption, why + " (ebpfctl --help tells the options)"});
}

int print(const std::string& text) {
  auto written = write_output(text);
  return written ? kExitOk : fail(written.error());
}

int run_once(const Action& action, const char* before) {
  auto output = action();
  if (!output) return fail(output.error());
  const int printed = print(before + output->text);
  return printed == kExitOk ? output->exit_code : printed;
}

// Until something fails, or a signal ends the program.
int run_repeatedly(const Action& action, double interval_s) {
  const bool clear = output_is_terminal();
  const auto interval = std::chrono::duration<double>(interval_s);
  for (auto next = std::chrono::steady_clock::now();;) {
    const int code = run_once(action, clear ? kClearScreen : "");
    if (code != kExitOk) return code;
    next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(interval);
    next = std::max(next, std::chrono::steady_clock::now());
    std::this_thread::sleep_until(next);
  }
}

int run(int argc, char** argv) {
  if (auto ready = prepare_standard_streams(); !ready) return fail(ready.error());
  Options options{.socket_path = default_socket_path()};
  Action action;
  CLI::App app{"shows and steers a running ebpf-producer"};
  add_command_line(app, options, action);

  if (argc < 2) {
    std::fputs(help_text(app).c_str(), stderr);
    return kExitBadOption;
  }
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (std::string why = find_unknown_word(app, words); !why.empty()) return bad_option(why);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    return print(std::string(version.what()) + "\n");
  } catch (const CLI::Success&) {
    return print(app.help());
  } catch (const CLI::ArgumentMismatch& error) {
    return bad_option(ebpf::one_line(error.what()) + ": give it once, with a value");
  } catch (const CLI::ParseError& error) {
    return bad_option(ebpf::one_line(error.what()));
  }
  if (std::string why = check_output(app, options); !why.empty()) return bad_option(why);
  options.color = wants_color(options.color_when);
  if (options.watch_s <= 0) return run_once(action, "");
  if (!action.is_repeatable()) return bad_option("--watch does not go with this command");
  return run_repeatedly(action, options.watch_s);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ebpfctl: %s\n", error.what());
    return kExitFailure;
  }
}

// SPDX-License-Identifier: Apache-2.0
// ebpfctl: shows and steers a running producer over its control socket.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "ctl/command.h"
#include "ctl/format.h"
#include "libebpf/control.h"

namespace {

using namespace ebpf::ctl;

constexpr const char* kUsage =
    "Usage:\n"
    "    ebpfctl [OPTIONS] OBJECT { COMMAND | help }\n"
    "    ebpfctl [OPTIONS] check    will the tracer run here? needs no producer\n"
    "Parameters:\n"
    "    OBJECT  := { tracer socktrace }\n"
    "    COMMAND := { show }, of tracer also { start stop }\n"
    "Options, before or after OBJECT COMMAND:\n"
    "    -o, --output text|json  what to print (default: text)\n"
    "        --socket PATH       the producer's control socket\n"
    "                            (default: $" EBPF_SOCKET_ENV ", else " EBPF_SOCKET_DEFAULT
    ")\n"
    "    -v, --verbose           more lines\n"
    "    -h, --help\n"
    "    -V, --version\n"
    "    -C, --color\n"
    "Exit codes:\n"
    "    0 done   1 failed   2 bad option   3 producer not running\n"
    "    4 no permission   5 producer speaks another version\n"
    "    of check: 0 the tracer runs here   1 with limits   2 it does not\n";

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
    case ENAMETOOLONG:
      return kExitBadOption;
    default:
      return kExitFailure;
  }
}

// Output that does not arrive (a full disk, a closed pipe) is a failure.
int print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return kExitOk;
  }
  std::perror("ebpfctl: cannot write the output");
  return kExitFailure;
}

int run(int argc, char** argv) {
  Options options{.socket_path = default_socket_path()};
  Action action;

  CLI::App app{"ebpfctl"};
  app.formatter_fn([](const CLI::App*, const std::string&, CLI::AppFormatMode) { return kUsage; });
  app.add_option("-o,--output", options.output)->check(CLI::IsMember({"text", "json"}));
  app.add_option("--socket", options.socket_path);
  app.add_flag("-v,--verbose", options.verbose);
  app.add_flag("-C,--color", options.color);
  app.set_version_flag("-V,--version", "ebpfctl " LIBEBPF_VERSION);
  app.require_subcommand(1);
  add_tracer(app, options, action);
  add_socktrace(app, options, action);
  add_check(app, options, action);
  for (CLI::App* object : app.get_subcommands({})) {
    if (object->get_subcommands({}).empty()) continue;
    object->add_subcommand("help")->callback(
        [&] { action = []() -> ebpf::Result<Output> { return Output(kUsage); }; });
  }

  if (argc < 2) {
    std::fputs(kUsage, stderr);
    return kExitBadOption;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    return print(std::string(version.what()) + "\n");
  } catch (const CLI::Success&) {
    return print(kUsage);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "ebpfctl: %s (ebpfctl --help tells the options)\n",
                 ebpf::escape(error.what()).c_str());
    return kExitBadOption;
  }

  auto output = action();
  if (output) {
    const int printed = print(output->text);
    return printed == kExitOk ? output->exit_code : printed;
  }
  std::fprintf(stderr, "ebpfctl: %s\n", output.error().message.c_str());
  return exit_code(output.error());
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

// SPDX-License-Identifier: Apache-2.0
#include "ctl/command_line.h"

#include <sys/un.h>

#include <algorithm>

#include "libebpf/control.h"

namespace ebpf::ctl {
namespace {

constexpr const char* kTailOutput = "hex";
constexpr size_t kSocketPathMax = sizeof(sockaddr_un::sun_path) - 1;
constexpr double kWatchMinS = 0.1;
constexpr double kWatchMaxS = 86400;

constexpr const char* kExitCodes =
    "Exit codes:\n"
    "    0 done   1 failed   2 bad option   3 producer not running\n"
    "    4 no permission   5 producer speaks another version\n"
    "    of check: 0 the tracer runs here   1 with limits   2 it does not\n";

// A path is any bytes but control bytes, which nobody means.
CLI::Validator socket_path() {
  return {[](std::string& path) {
            if (path.empty() || path.size() > kSocketPathMax) {
              return shown_word(path) + " has " + std::to_string(path.size()) +
                     " bytes, a socket path must have 1 to " + std::to_string(kSocketPathMax);
            }
            const bool control = std::any_of(path.begin(), path.end(), [](unsigned char byte) {
              return byte < 0x20 || byte == 0x7f;
            });
            return control ? shown_word(path) + " has control bytes" : std::string();
          },
          "PATH", "socket_path"};
}

// A form of tail's alone may stand ahead of the command, too; check_output() looks at it then.
CLI::Validator output_form() {
  const CLI::Validator common = one_of({"text", "json"});
  return {[common](std::string& form) { return form == kTailOutput ? "" : common(form); },
          "text|json", "output_form"};
}

void add_common_options(CLI::App& app, Options& options) {
  app.add_option("-o,--output", options.output, "what to print (default: text)")
      ->check(output_form());
  app.add_option("--socket", options.socket_path,
                 "the producer's control socket (default: $" EBPF_SOCKET_ENV
                 ", else " EBPF_SOCKET_DEFAULT ")")
      ->check(socket_path());
  app.add_option("--watch", options.watch_s, "show again every so many seconds, until interrupted")
      ->check(decimal_number(kWatchMinS, kWatchMaxS));
  app.add_flag("-v,--verbose", options.verbose, "more lines");
  app.add_flag("-C{auto},--color{auto}", options.color_when,
               "colours on a terminal, unless NO_COLOR is set; --color=always: everywhere")
      ->check(one_of({"auto", "always", "never"}));
}

std::vector<const CLI::App*> below(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  return app.get_options([](const CLI::Option*) { return true; });
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// An option of the command or of one that it belongs to.
const CLI::Option* find_option(const CLI::App* app, const std::string& name, bool is_long) {
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : options_of(*app)) {
      const auto& names = is_long ? option->get_lnames() : option->get_snames();
      if (std::find(names.begin(), names.end(), name) != names.end()) return option;
    }
  }
  return nullptr;
}

std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : options_of(*app)) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

bool has_positionals(const CLI::App& app) {
  const auto options = options_of(app);
  return std::any_of(options.begin(), options.end(),
                     [](const CLI::Option* option) { return option->get_positional(); });
}

std::string full_name(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "ebpfctl";
  return full_name(*app.get_parent()) + " " + app.get_name();
}

// Walks the words the way that the parser will, and stops at the first that it cannot know.
class WordCheck {
 public:
  explicit WordCheck(const CLI::App& app) : app_(&app) {}

  std::string run(const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      if (value_follows_) {
        value_follows_ = false;
      } else if (word == "--") {
        return "";
      } else if (word.size() > 1 && word[0] == '-') {
        if (std::string why = option(word); !why.empty()) return why;
      } else if (std::string why = command(word); !why.empty()) {
        return why;
      }
    }
    return "";
  }

 private:
  std::string option(const std::string& word) {
    if (word[1] != '-') return short_options(word);
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const CLI::Option* found = find_option(app_, name.substr(2), true);
    if (found != nullptr && equals == word.size() - 1) return name + ": no value after '='";
    if (found == nullptr) return unknown_option(name);
    value_follows_ = takes_value(*found) && equals == std::string::npos;
    return "";
  }

  // "-vC", "-o json", "-ojson"
  std::string short_options(const std::string& word) {
    for (size_t at = 1; at < word.size(); at++) {
      const CLI::Option* found = find_option(app_, word.substr(at, 1), false);
      if (found == nullptr) return unknown_option(word);
      if (!takes_value(*found)) continue;
      value_follows_ = at + 1 == word.size();
      break;
    }
    return "";
  }

  std::string unknown_option(const std::string& name) const {
    return full_name(*app_) + " has no option " + shown_word(name) +
           did_you_mean(name, option_names(app_));
  }

  std::string command(const std::string& word) {
    std::vector<std::string> names;
    for (const CLI::App* each : below(*app_)) {
      names.push_back(each->get_name());
      if (each->get_name() != word) continue;
      app_ = each;
      return "";
    }
    if (has_positionals(*app_)) return "";
    if (names.empty()) return full_name(*app_) + " takes no argument " + shown_word(word);
    return full_name(*app_) + " has no command " + shown_word(word) + did_you_mean(word, names);
  }

  const CLI::App* app_;
  bool value_follows_ = false;
};

// A flag is given or not; CLI11 would read "--verbose=0" and more.
void forbid_values_of_flags(CLI::App& app) {
  for (CLI::Option* option : app.get_options({})) {
    if (option->get_items_expected_max() == 0 && !option->check_lname("color")) {
      option->disable_flag_override();
    }
  }
  for (CLI::App* each : app.get_subcommands({})) forbid_values_of_flags(*each);
}

void append_line(std::string& out, const std::string& left, const std::string& right) {
  constexpr size_t kColumn = 30;
  std::string line = "    " + left;
  if (line.size() + 2 > kColumn) {
    out += line + "\n";
    line.clear();
  }
  line.resize(kColumn, ' ');
  out += line + right + "\n";
}

// CLI11 puts the C++ type ahead of what the check calls it: "TEXT:PATH".
std::string value_name(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  return name.substr(name.find(':') + 1);
}

std::string option_left(const CLI::Option& option) {
  std::string left = option.get_snames().empty() ? "    " : "-" + option.get_snames()[0];
  if (!option.get_snames().empty() && !option.get_lnames().empty()) left += ", ";
  if (!option.get_lnames().empty()) left += "--" + option.get_lnames()[0];
  if (takes_value(option)) left += " " + value_name(option);
  return left;
}

void append_options(std::string& out, const CLI::App& app, const std::string& heading) {
  std::string lines;
  for (const CLI::Option* option : options_of(app)) {
    if (option->get_positional()) {
      append_line(lines, option->get_name(true), option->get_description());
    } else {
      append_line(lines, option_left(*option), option->get_description());
    }
  }
  if (!lines.empty()) out += heading + lines;
}

// The commands at the ends of the tree, one line each.
void append_commands(std::string& out, const CLI::App& app, const std::string& before) {
  for (const CLI::App* each : below(app)) {
    if (each->get_name() == "help") continue;
    const std::string name = before + each->get_name();
    if (below(*each).empty()) {
      append_line(out, name, each->get_description());
    } else {
      append_commands(out, *each, name + " ");
    }
  }
}

void append_own_options(std::string& out, const CLI::App& app, const std::string& name) {
  append_options(out, app, "Options of " + name + ":\n");
  for (const CLI::App* each : below(app))
    append_own_options(out, *each, name + " " + each->get_name());
}

std::string usage_line(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "    ebpfctl [OPTIONS] OBJECT { COMMAND | help }\n";
  std::string line = "    ebpfctl [OPTIONS]" + full_name(app).substr(7);
  if (!below(app).empty()) line += " COMMAND";
  for (const CLI::Option* option : options_of(app)) {
    if (option->get_positional()) line += " " + option->get_name(true);
  }
  return line + "\n";
}

}  // namespace

std::string find_unknown_word(const CLI::App& app, const std::vector<std::string>& words) {
  return WordCheck(app).run(words);
}

std::string check_output(const CLI::App& app, const Options& options) {
  if (options.output != kTailOutput || app.got_subcommand("tail")) return "";
  return std::string("only tail prints ") + kTailOutput + "; all others text or json";
}

std::string help_text(const CLI::App& app) {
  const CLI::App* root = &app;
  while (root->get_parent() != nullptr) root = root->get_parent();
  std::string out = "Usage:\n" + usage_line(app);
  if (below(app).empty()) {
    out += "\n" + app.get_description() + "\n\n";
  } else {
    out += "Commands:\n";
    append_commands(out, app, root == &app ? "" : full_name(app).substr(8) + " ");
  }
  append_options(out, *root, "Options, before or after the command:\n");
  if (root == &app) {
    for (const CLI::App* each : below(app)) append_own_options(out, *each, each->get_name());
  } else {
    append_own_options(out, app, full_name(app).substr(8));
  }
  return out + kExitCodes;
}

void add_command_line(CLI::App& app, Options& options, Action& action) {
  app.formatter_fn([](const CLI::App* which, const std::string&, CLI::AppFormatMode) {
    return help_text(*which);
  });
  app.set_help_flag("-h,--help", "this text, or that of a command");
  add_common_options(app, options);
  app.set_version_flag("-V,--version", "ebpfctl " LIBEBPF_VERSION, "version");
  app.require_subcommand(1);
  add_tracer(app, options, action);
  add_socktrace(app, options, action);
  add_ring(app, options, action);
  add_loss(app, options, action);
  add_probe(app, options, action);
  add_map(app, options, action);
  add_top(app, options, action);
  add_check(app, options, action);
#ifdef EBPF_WITH_METRICS
  add_metrics(app, options, action);
#endif
  add_flow(app, options, action);
  add_pcap(app, options, action);
  add_record(app, options, action);
  add_tail(app, options, action);
  forbid_values_of_flags(app);
  for (CLI::App* object : app.get_subcommands({})) {
    // One help option for all: that of the program, which finds the command in question.
    for (CLI::App* command : object->get_subcommands({})) command->set_help_flag();
    object->set_help_flag();
    if (object->get_subcommands({}).empty()) continue;
    object->add_subcommand("help", "this object's commands")->callback([&action, object] {
      action = [object]() -> Result<Output> { return Output(help_text(*object)); };
    });
  }
}

}  // namespace ebpf::ctl

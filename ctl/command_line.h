// SPDX-License-Identifier: Apache-2.0
// The command line of ebpfctl: all of its options and commands, the checks that their values
// go through, and the help text, which is made from them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "ctl/command.h"

namespace ebpf::ctl {

// Adds every option and command. The references live as long as `app`.
void add_command_line(CLI::App& app, Options& options, Action& action);

// The first word that is no option or command, with the nearest right one, in one line;
// "" if all are known. Values are not looked at.
std::string find_unknown_word(const CLI::App& app, const std::vector<std::string>& words);

// After parsing: why the command that was chosen does not print in that form; "" if it does.
std::string check_output(const CLI::App& app, const Options& options);

// Usage, commands and options of `app` and of all below it.
std::string help_text(const CLI::App& app);

// `text` as an error message may show it: quoted, escaped, and cut where it is long.
std::string shown_word(const std::string& text);

// "; did you mean NEAREST?", or "" where no candidate is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

// Checks for option->check(): what they refuse ends the program with kExitBadOption.
CLI::Validator one_of(std::vector<std::string> words);
CLI::Validator whole_number(uint64_t min, uint64_t max);            // decimal digits, nothing else
CLI::Validator decimal_number(double min, double max);              // digits with at most one point
CLI::Validator printable_text(size_t min_bytes, size_t max_bytes);  // UTF-8, no control bytes

}  // namespace ebpf::ctl

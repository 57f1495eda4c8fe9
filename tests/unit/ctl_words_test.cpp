// SPDX-License-Identifier: Apache-2.0
// Whoever looks for a command finds it: each stands in the help text, in the man page, in
// docs/EBPFCTL.md (the completions ask the help text).
#include <gtest/gtest.h>

#include <fstream>

#include "ctl/command_line.h"

namespace ebpf::ctl {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(std::string(EBPF_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file) << path;
  return {(std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()};
}

void collect(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(each->get_name());
    collect(*each, names);
  }
}

TEST(CtlWords, EveryCommandIsToldEverywhere) {
  CLI::App app;
  Options options;
  Action action;
  add_command_line(app, options, action);
  std::vector<std::string> names;
  collect(app, names);
  ASSERT_GT(names.size(), 10u);
  const std::string help = help_text(app);
  for (const std::string& name : names) {
    EXPECT_NE(help.find(name), std::string::npos) << name << " in the help text";
    for (const char* path : {"packaging/man/ebpfctl.8.in", "docs/EBPFCTL.md"}) {
      EXPECT_NE(read_file(path).find(name), std::string::npos) << name << " in " << path;
    }
  }
}

}  // namespace
}  // namespace ebpf::ctl

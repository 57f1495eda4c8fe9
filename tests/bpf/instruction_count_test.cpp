// SPDX-License-Identifier: Apache-2.0
// The table of instruction counts in docs/CAPTURE.md is what the floor object holds, within a
// tenth: a program that grows does not do so unnoticed.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>

namespace {

constexpr const char* kHeading = "| program | instructions |";

std::map<std::string, size_t> counts_of_object() {
  std::map<std::string, size_t> counts;
  const std::unique_ptr<bpf_object, void (*)(bpf_object*)> object(
      bpf_object__open_file(EBPF_FLOOR_OBJECT, nullptr), bpf_object__close);
  bpf_program* program;
  if (!object) return counts;
  bpf_object__for_each_program(program, object.get()) {
    counts[bpf_program__name(program)] = bpf_program__insn_cnt(program);
  }
  return counts;
}

std::map<std::string, size_t> counts_of_document() {
  std::map<std::string, size_t> counts;
  std::ifstream file(EBPF_CAPTURE_DOCUMENT);
  const std::regex row(R"(\| `(\w+)` \| (\d+) \|)");
  bool is_table = false;
  for (std::string line; std::getline(file, line);) {
    if (line == kHeading) is_table = true;
    if (line.empty()) is_table = false;
    std::smatch parts;
    if (is_table && std::regex_match(line, parts, row)) {
      counts[parts[1]] = std::strtoul(parts[2].str().c_str(), nullptr, 10);
    }
  }
  return counts;
}

TEST(InstructionCounts, AreThoseOfTheDocument) {
  const auto counts = counts_of_object();
  const auto documented = counts_of_document();
  ASSERT_FALSE(counts.empty()) << EBPF_FLOOR_OBJECT;
  std::ostringstream table;
  for (const auto& [name, count] : counts) table << "| `" << name << "` | " << count << " |\n";
  for (const auto& [name, count] : counts) {
    const auto known = documented.find(name);
    ASSERT_NE(known, documented.end()) << name << " is not in the table; it should be:\n"
                                       << kHeading << "\n|---|---|\n"
                                       << table.str();
    const double ratio = static_cast<double>(count) / static_cast<double>(known->second);
    EXPECT_TRUE(ratio <= 1.1 && ratio >= 0.9)
        << name << " has " << count << " instructions, " << EBPF_CAPTURE_DOCUMENT << " says "
        << known->second << ". If that is meant, the table should be:\n"
        << table.str();
  }
  for (const auto& [name, count] : documented) {
    EXPECT_TRUE(counts.count(name)) << name << " (" << count << ") is in the table only";
  }
}

}  // namespace

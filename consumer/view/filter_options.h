// SPDX-License-Identifier: Apache-2.0
// The options that say which records somebody wants to see: --proto, --pid, --port, --direction
// and --msg-type, the same for every program.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "libebpf/consumer.h"

namespace ebpf {

class FilterOptions {
 public:
  // Values with a mistake end the parsing with one clear line. `this` lives as long as `app`.
  void declare(CLI::App& app);

  // Points into this object.
  ebpf_filter filter() const;

 private:
  std::vector<std::string> protocols_;
  std::vector<std::string> directions_;
  std::vector<std::string> msg_types_;
  std::vector<uint32_t> process_ids_;
  std::vector<uint16_t> ports_;
};

// A whole number of plain digits; CLI11 alone would wrap what is negative or too large.
CLI::Validator plain_number(uint64_t least, uint64_t most);

}  // namespace ebpf

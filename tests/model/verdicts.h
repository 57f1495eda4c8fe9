// SPDX-License-Identifier: Apache-2.0
// Mutants that break nothing, and why.
#pragma once

#include <string>

namespace ebpf::model {

struct Harmless {
  const char* mutant;
  const char* why;
};

constexpr Harmless kHarmless[] = {
    {"", ""},
};

inline const char* why_harmless(const std::string& mutant) {
  for (const Harmless& each : kHarmless) {
    if (mutant == each.mutant) return each.why;
  }
  return nullptr;
}

}  // namespace ebpf::model

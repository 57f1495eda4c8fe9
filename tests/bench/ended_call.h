// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace ebpf::bench {

// A system call that moved `ret` bytes.
struct EndedCall {
  uint64_t nr;
  std::array<uint64_t, 6> args;
  uint64_t ret;
};

}  // namespace ebpf::bench

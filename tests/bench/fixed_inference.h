// SPDX-License-Identifier: Apache-2.0
// The inference of recorded traffic, for fixed_work.
#pragma once

#include <cstdint>
#include <string>

namespace ebpf::bench {

// Tells the protocol of `records` records of the trace file, one after another, and again from
// the start with nothing known of any socket. Returns what is wrong with the file, or nothing.
std::string infer_recorded(const std::string& path, uint32_t records);

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// How ebpfctl shows what the producer told: the one place that formats. The text keeps
// the labels, order and units of the original tool; with `verbose`, what is ours follows.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "libebpf/control.h"

namespace ebpf::ctl {

// The version of the JSON objects; raised when a key changes its meaning or goes away.
constexpr int kSchemaVersion = 1;

struct TextStyle {
  bool verbose = false;
  bool color = false;
};

// Printable ASCII stays, a backslash is doubled, every other byte becomes \xNN: what came
// from outside must not reach a terminal raw.
std::string escape(std::string_view text);

// The string in a fixed field that the peer may have left without a NUL.
template <size_t N>
std::string_view bounded_string(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

// Each ends with a newline. Counts (lanes, entries, CPUs) must have been checked.
std::string tracer_text(const ebpf_msg_stats& stats, TextStyle style);
std::string tracer_json(const ebpf_msg_stats& stats);
std::string tracer_state_text(uint8_t tracer_state);
std::string tracer_state_json(uint8_t tracer_state);
std::string socktrace_text(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets,
                           TextStyle style);
std::string socktrace_json(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets);

}  // namespace ebpf::ctl

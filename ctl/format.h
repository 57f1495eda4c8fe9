// SPDX-License-Identifier: Apache-2.0
// How ebpfctl shows what the producer told: the one place that formats. The text keeps
// the labels, order and units of the original tool; with `verbose`, what is ours follows.
#pragma once

#include <string>

#include "libebpf/control.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {

// The version of the JSON objects; raised when a key changes its meaning or goes away.
constexpr int kSchemaVersion = 1;

struct TextStyle {
  bool verbose = false;
  bool color = false;
};

// Each ends with a newline. Counts (lanes, entries, CPUs) must have been checked.
std::string tracer_text(const ebpf_msg_stats& stats, TextStyle style);
std::string tracer_json(const ebpf_msg_stats& stats);
std::string tracer_state_text(uint8_t tracer_state);
std::string tracer_state_json(uint8_t tracer_state);
std::string socktrace_text(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets,
                           TextStyle style);
std::string socktrace_json(const ebpf_msg_stats& stats, const ebpf_msg_offsets& offsets);

}  // namespace ebpf::ctl

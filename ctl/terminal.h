// SPDX-License-Identifier: Apache-2.0
// Where ebpfctl's output goes: a terminal, a pipe, a file, or nowhere.
#pragma once

#include <string_view>

#include "libebpf/detail/result.h"

namespace ebpf::ctl {

// Before anything else: descriptors 0 to 2 that are closed would be given to the next socket or
// file that is opened, and a pipe that closes would end the program without a word. An error:
// there is no standard output.
Result<> prepare_standard_streams();

// Writes all of it to standard output at once. A pipe that is closed, or a disk that is full,
// is an error, and the end of the program's work.
Result<> write_output(std::string_view text);

bool output_is_terminal();

// What --color=WHEN comes to; `when` as in Options.
bool wants_color(std::string_view when);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// Files that commands write: new ones only, private, and never half of one as if it were whole.
#pragma once

#include <string>
#include <string_view>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::ctl {

// For --force: removes the file, if it is a regular one or a symbolic link; no other thing is.
Result<> remove_regular_file(const std::string& path);

// Itself, not what a symbolic link points at.
bool is_regular_file(const std::string& path);

// Renames a file that is not whole to PATH.part, and says so in a clause for a message.
std::string set_aside(const std::string& path);

// Creates the file, mode 0600. One that is there already is refused, or replaced with `force`;
// a pipe or a device is opened as it is.
Result<UniqueFd> create_output(const std::string& path, bool force);

// Writes it whole, or not at all.
Result<> write_file(const std::string& path, std::string_view content, bool force);

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// Opens the file that a log is appended to.
#pragma once

#include <string>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf {

// Made with mode 0640 when missing; must be a regular file, and is never reached through a
// symbolic link in its last component.
Result<UniqueFd> open_log_file(const std::string& file);

}  // namespace ebpf

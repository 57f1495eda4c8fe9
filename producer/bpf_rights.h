// SPDX-License-Identifier: Apache-2.0
// Whether this process may use BPF here, and if not, why not.
#pragma once

#include <string>

#include "libebpf/detail/result.h"
#include "producer/log.h"

namespace ebpf {

// Linux version as major * 1000 + minor, from uname; 0 if it cannot be read.
int kernel_version();

// Tries to lift RLIMIT_MEMLOCK, which kernels before 5.11 charge maps to. Going on without
// is fine where it is not needed; the log says so.
void raise_memlock_limit(const LogSink& log);

// Looks at the capabilities, and makes the smallest map there is. The error names what is
// missing.
Result<> check_bpf_rights();

// What may explain that the kernel refused with `code`: missing capabilities, lockdown;
// empty if nothing is known.
std::string explain_refusal(int code);

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// The helpers that programs may call, as the kernel has them. One more is one line in
// bpf_helpers.cpp, and a function if it does something new.
#pragma once

#include <cstdint>
#include <string>

#include "bpf_machine.h"

namespace ebpf::bench {

// `args`: R1 to R5. Returns R0.
using BpfHelper = uint64_t (*)(BpfMachine& machine, const uint64_t* args);

// Null: not known here.
BpfHelper find_helper(int32_t number);

// Of any helper that the kernel's headers know, without "bpf_".
std::string helper_name(int32_t number);

// A function of the kernel that is none of the helpers. Null: not known here.
BpfHelper find_kernel_function(const std::string& name);

}  // namespace ebpf::bench

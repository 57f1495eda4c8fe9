// SPDX-License-Identifier: Apache-2.0
// What the numbers of the control protocol are called, in text, JSON and labels alike: as the
// producer's options call them, where there is one.
#pragma once

#include <cstdint>
#include <string>

namespace ebpf::ctl {

// "unknown" for a number that a newer producer may send.
const char* state_name(uint8_t tracer_state);    // TRACER_*
const char* attach_name(uint8_t attach);         // EBPF_ATTACH_*
const char* transport_name(uint32_t transport);  // EBPF_TRANSPORT_*
const char* offsets_name(uint8_t source);        // EBPF_OFFSETS_*
const char* pages_name(uint32_t pages);          // EBPF_PAGES_*
std::string node_name(uint32_t numa_node);       // or EBPF_NUMA_ANY

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
// Messages of the control protocol as the producer sees them: the one place that decides
// whether a packet from a peer is a message, and what an error looks like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "libebpf/control.h"
#include "libebpf/detail/result.h"

namespace ebpf {

// A header of the given type and length, ready to send.
ebpf_msg_header message_header(ebpf_msg_type type, uint32_t length_bytes);

// Checks a packet as recvmsg() gave it: `bytes` of it are in `packet`, `flags` are
// msghdr.msg_flags. Returns its type, one that a producer takes, or what is wrong with it.
// A packet without descriptors, exactly as long as its type says, is the only good one.
Result<ebpf_msg_type> check_message(const void* packet, size_t bytes, int flags);

// `text` is cut to what fits; whatever is not printable ASCII becomes '?'.
ebpf_msg_error error_message(int error, const std::string& text);

// A name that a peer gave itself, printable, at most EBPF_COMM_BYTES - 1 bytes.
std::string printable_name(const char (&name)[EBPF_COMM_BYTES]);

}  // namespace ebpf

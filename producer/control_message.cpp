// SPDX-License-Identifier: Apache-2.0
#include "producer/control_message.h"

#include <sys/socket.h>

#include <cstring>

namespace ebpf {
namespace {

char printable(char c) { return c >= 0x20 && c < 0x7f ? c : '?'; }

// Length of a message that a consumer or a tool may send; 0: no such type.
uint32_t expected_bytes(uint16_t type) {
  switch (type) {
    case EBPF_MSG_JOIN:
      return sizeof(ebpf_msg_join);
    case EBPF_MSG_GET_STATS:
    case EBPF_MSG_START:
    case EBPF_MSG_STOP:
    case EBPF_MSG_GET_OFFSETS:
      return sizeof(ebpf_msg_header);
    case EBPF_MSG_GET_RING:
    case EBPF_MSG_GET_PROGRAMS:
    case EBPF_MSG_GET_MAPS:
      return sizeof(ebpf_msg_get_page);
    case EBPF_MSG_EVICT:
      return sizeof(ebpf_msg_evict);
    default:
      return 0;
  }
}

Error bad(const std::string& what) { return {EBADMSG, what}; }

}  // namespace

ebpf_msg_header message_header(ebpf_msg_type type, uint32_t length_bytes) {
  ebpf_msg_header header{};
  header.magic = EBPF_MSG_MAGIC;
  header.version = EBPF_PROTOCOL_VERSION;
  header.type = type;
  header.length_bytes = length_bytes;
  return header;
}

Result<ebpf_msg_type> check_message(const void* packet, size_t bytes, int flags) {
  ebpf_msg_header header;
  if (bytes < sizeof(header)) {
    return bad("message of " + std::to_string(bytes) + " bytes, a header alone has " +
               std::to_string(sizeof(header)));
  }
  std::memcpy(&header, packet, sizeof(header));
  if (header.magic != EBPF_MSG_MAGIC) return bad("message does not start with the magic number");
  if (header.version != EBPF_PROTOCOL_VERSION) {
    return Error{EPROTO, "protocol version " + std::to_string(header.version) +
                             " asked for, this producer speaks version " +
                             std::to_string(EBPF_PROTOCOL_VERSION)};
  }
  const uint32_t expected = expected_bytes(header.type);
  if (expected == 0) {
    return bad("message type " + std::to_string(header.type) + " is none that a producer takes");
  }
  if ((flags & MSG_TRUNC) || bytes != expected || header.length_bytes != expected) {
    return bad("message type " + std::to_string(header.type) + " has " + std::to_string(expected) +
               " bytes; " + std::to_string(header.length_bytes) + " announced, " +
               std::to_string(bytes) + ((flags & MSG_TRUNC) ? " and more" : "") + " received");
  }
  if (flags & MSG_CTRUNC) return bad("message came with descriptors; a producer takes none");
  if (header.reserved != 0) return bad("reserved field of the message header is not 0");
  return static_cast<ebpf_msg_type>(header.type);
}

ebpf_msg_error error_message(int error, const std::string& text) {
  ebpf_msg_error message{};
  message.header = message_header(EBPF_MSG_ERROR, sizeof(message));
  message.error = error;
  for (size_t at = 0; at < text.size() && at + 1 < sizeof(message.text); ++at) {
    message.text[at] = printable(text[at]);
  }
  return message;
}

std::string printable_name(const char (&name)[EBPF_COMM_BYTES]) {
  std::string result(name, strnlen(name, EBPF_COMM_BYTES - 1));
  for (char& c : result) c = printable(c);
  return result;
}

}  // namespace ebpf

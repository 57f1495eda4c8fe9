// SPDX-License-Identifier: Apache-2.0
// Feeds the inference header with what an end of a connection might see. An input is a
// sequence of calls: a byte of flags (1 received, 2 more bytes than were captured, 4 UDP in the
// first call), a length (2 bytes, little-endian), and the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "tests/tools/infer/end.h"

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

bool is_protocol(int protocol) {
  return protocol == SOCK_DATA_HTTP1 || protocol == SOCK_DATA_HTTP2 ||
         protocol == SOCK_DATA_DUBBO || protocol == SOCK_DATA_MYSQL ||
         protocol == SOCK_DATA_REDIS || protocol == SOCK_DATA_KAFKA || protocol == SOCK_DATA_DNS;
}

// The answer is one that there can be, and follows from the captured bytes alone: what stands
// behind the window, where the slack is, may be anything that was captured, or zeros.
void check_input(const infer_native::Call& call) {
  auto window = std::make_unique<infer_window>();
  std::memcpy(window->bytes, call.bytes.data(), std::min(call.bytes.size(), sizeof(window->bytes)));
  const infer_input input = {
      window.get(),   std::min<size_t>(call.bytes.size(), INFER_WINDOW_BYTES),
      call.total,     call.is_tcp,
      call.direction, INFER_ALL_PROTOCOLS};
  infer_state state = {};
  const uint64_t result = infer(&input, &state);
  must(result >> 25 == 0);
  must(result == 0 || is_protocol(INFER_PROTOCOL(result)));
  must(INFER_MSG_TYPE(result) <= MSG_RESPONSE);
  must(call.is_tcp || result == 0 || INFER_PROTOCOL(result) == SOCK_DATA_DNS);
  for (uint32_t bit = INFER_BIT_HTTP1; bit <= INFER_BIT_DNS; bit <<= 1) {
    infer_input without = input;
    without.protocols &= ~bit;
    infer_state other = {};
    const uint64_t second = infer(&without, &other);
    must(second == 0 || is_protocol(INFER_PROTOCOL(second)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  infer_native::End end;
  uint64_t is_tcp = size > 0 && (data[0] & 4) ? 0 : 1;
  uint64_t moved = 0;
  uint64_t told = 0;
  int certain = 0;
  while (size >= 3) {
    const uint8_t flags = data[0];
    const size_t length = std::min<size_t>(data[1] | data[2] << 8, size - 3);
    infer_native::Call call = {
        flags & 1u, is_tcp, length, {reinterpret_cast<const char*>(data) + 3, length}};
    if (flags & 2) call.total += length * 7 + 1;
    data += 3 + length;
    size -= 3 + length;
    if (call.total == 0) continue;
    moved += call.total;
    check_input(call);
    for (const infer_native::Record& record : end.take(call)) {
      must(is_protocol(record.protocol));
      // What is certain stays so; HTTP/1 alone may turn into HTTP/2.
      must(certain == 0 || (!record.is_likely && record.protocol == certain) ||
           (certain == SOCK_DATA_HTTP1 && record.protocol == SOCK_DATA_HTTP2));
      if (!record.is_likely) certain = record.protocol;
      told += record.total;
    }
    must(told <= moved);
  }
  return 0;
}

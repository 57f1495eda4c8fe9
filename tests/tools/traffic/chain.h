// SPDX-License-Identifier: Apache-2.0
// Requests that cause requests: clients, a proxy of ours, and back ends, with a request id in a
// header of every message as the truth about what belongs together.
#pragma once

#include <cstdint>

#include "net.h"

namespace traffic {

struct ChainOptions {
  unsigned connections = 8;
  unsigned requests = 100;  // on each connection, one after another
};

// Clients, a blocking proxy with a thread per connection, and two back ends that it asks for each
// request: both at once for even request ids, one after the other for odd ones. Prints process id
// and ports as one line of JSON.
void run_chain(const ChainOptions& options);

// The same clients against another proxy (or server), and one back end alone.
void ask_with_ids(const Address& server, const ChainOptions& options);
[[noreturn]] void serve_ids(uint16_t port);

}  // namespace traffic

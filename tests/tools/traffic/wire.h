// SPDX-License-Identifier: Apache-2.0
// Traffic to be compared with a packet capture: many records of every shape that TCP gives them.
#pragma once

namespace traffic {

struct WireOptions {
  unsigned scale = 10;  // about 13,000 records each
};

// Runs four flows over IPv4 and IPv6, each with a server port of its own: requests on kept-alive
// connections, pipelined ones, half-closed connections, and large transfers in both directions at
// once, one of them over the end of the sequence numbers. Prints ports and connections as one
// line of JSON. Ends the program with status 1 when the traffic itself failed.
void run_wire(const WireOptions& options);

}  // namespace traffic

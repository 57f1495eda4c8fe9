// SPDX-License-Identifier: Apache-2.0
// The all-in-one run: a client and a server process on loopback.
#pragma once

namespace traffic {

struct SmokeOptions {
  unsigned exchanges = 5;  // per flow
  bool ipv4_only = false;
};

// Every protocol (HTTP/1 over TCP, DNS over UDP), address family and way of moving bytes is a
// flow of its own: one socket at the client, `exchanges` requests, each sent and received
// in one system call, and answered. Prints what it did as one line of JSON. Ends the program
// with status 1 when the traffic itself failed.
void run_smoke(const SmokeOptions& options);

}  // namespace traffic

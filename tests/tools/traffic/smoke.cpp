// SPDX-License-Identifier: Apache-2.0
#include "smoke.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "messages.h"
#include "net.h"

namespace traffic {

namespace {

constexpr size_t kBufferBytes = 65536;
// Response bodies, in turn: empty, small, and beyond the usual capture limit.
constexpr size_t kBodyBytes[] = {0, 20, 300, 1000, 5000};

struct Flow {
  bool dns;
  int family;
  Way way;
};

// The server's sockets, by family.
struct Servers {
  std::map<int, int> tcp;
  std::map<int, int> udp;
};

// An UDP socket without a peer can only be used with recvfrom/sendto and recvmsg/sendmsg.
Way server_way(const Flow& flow) {
  if (!flow.dns || flow.way == Way::kRecvmsgSendmsg) return flow.way;
  return Way::kRecvSend;
}

const char* family_name(int family) { return family == AF_INET6 ? "ipv6" : "ipv4"; }

std::string path_of(const Flow& flow, unsigned exchange) {
  return std::string("/smoke/") + family_name(flow.family) + "/" + sender_name(flow.way) + "/" +
         std::to_string(exchange);
}

std::string name_of(const Flow& flow, unsigned exchange) {
  return std::string(family_name(flow.family)) + "." + sender_name(flow.way) + "." +
         std::to_string(exchange) + ".smoke.test";
}

std::vector<Flow> make_flows(bool ipv6) {
  std::vector<Flow> flows;
  for (const bool dns : {false, true}) {
    for (const int family : {AF_INET, AF_INET6}) {
      if (family == AF_INET6 && !ipv6) continue;
      for (const Way way : kWays) flows.push_back({dns, family, way});
    }
  }
  return flows;
}

std::string response_to(const std::string& request, unsigned exchange) {
  if (http_path(request).empty()) fail("the server got something that is no request");
  return http_response(http_body(kBodyBytes[exchange % std::size(kBodyBytes)]));
}

// Receives exactly one message in one system call.
std::string receive_message(int fd, Way way) {
  std::string bytes(kBufferBytes, '\0');
  bytes.resize(static_cast<size_t>(receive(fd, way, bytes.data(), bytes.size())));
  return bytes;
}

void serve_http_flow(int listener, const Flow& flow, unsigned exchanges) {
  const int fd = accept_from(listener);
  for (unsigned i = 0; i < exchanges; i++) {
    const std::string request = receive_message(fd, flow.way);
    send_all(fd, flow.way, response_to(request, i));
  }
  char rest;
  if (receive(fd, flow.way, &rest, 1) != 0) fail("the client said more than it should");
  close(fd);
}

void serve_dns_flow(int fd, const Flow& flow, unsigned exchanges) {
  const Way way = server_way(flow);
  for (unsigned i = 0; i < exchanges; i++) {
    char buffer[512];
    Address peer;
    const ssize_t got = receive_from(fd, way, buffer, sizeof(buffer), &peer);
    send_to(fd, way, dns_answer({buffer, static_cast<size_t>(got)}), peer);
  }
}

[[noreturn]] void run_server(const Servers& servers, const std::vector<Flow>& flows,
                             unsigned exchanges) {
  prctl(PR_SET_NAME, "traffic-server");
  alarm(120);
  for (const Flow& flow : flows) {
    if (flow.dns) {
      serve_dns_flow(servers.udp.at(flow.family), flow, exchanges);
    } else {
      serve_http_flow(servers.tcp.at(flow.family), flow, exchanges);
    }
  }
  std::exit(0);
}

// What one flow did, as JSON.
struct FlowReport {
  std::string request_bytes;
  std::string response_bytes;

  void add(size_t request, size_t response) {
    const char* comma = request_bytes.empty() ? "" : ",";
    request_bytes += comma + std::to_string(request);
    response_bytes += comma + std::to_string(response);
  }
};

FlowReport ask_http(int fd, const Flow& flow, unsigned exchanges) {
  FlowReport report;
  for (unsigned i = 0; i < exchanges; i++) {
    const std::string request = http_request(path_of(flow, i), true);
    send_all(fd, flow.way, request);
    const std::string response = receive_message(fd, flow.way);
    if (response != response_to(request, i)) fail("wrong response to " + path_of(flow, i));
    report.add(request.size(), response.size());
  }
  return report;
}

FlowReport ask_dns(int fd, const Flow& flow, unsigned exchanges) {
  FlowReport report;
  for (unsigned i = 0; i < exchanges; i++) {
    const std::string query = dns_query(static_cast<uint16_t>(1000 + i), name_of(flow, i));
    send_all(fd, flow.way, query);
    const std::string answer = receive_message(fd, flow.way);
    if (!dns_answers(query, answer)) fail("wrong answer for " + name_of(flow, i));
    report.add(query.size(), answer.size());
  }
  return report;
}

std::string flow_json(const Flow& flow, const FlowReport& report, uint16_t client_port,
                      uint16_t server_port) {
  const Way server = server_way(flow);
  return std::string("{\"l7_protocol\":\"") + (flow.dns ? "DNS" : "HTTP") +
         "\",\"protocol\":" + (flow.dns ? "17" : "6") + ",\"family\":\"" +
         family_name(flow.family) + "\",\"client_port\":" + std::to_string(client_port) +
         ",\"server_port\":" + std::to_string(server_port) + ",\"client_calls\":[\"" +
         sender_name(flow.way) + "\",\"" + receiver_name(flow.way) + "\"],\"server_calls\":[\"" +
         receiver_name(server) + "\",\"" + sender_name(server) + "\"],\"request_bytes\":[" +
         report.request_bytes + "],\"response_bytes\":[" + report.response_bytes + "]}";
}

// The clients' sockets, all bound before the first one is used: so no two flows of a protocol
// have the same port, also not one after the other.
std::vector<int> bind_clients(const std::vector<Flow>& flows) {
  std::vector<int> fds;
  for (const Flow& flow : flows) {
    fds.push_back(open_socket(flow.family, flow.dns ? SOCK_DGRAM : SOCK_STREAM));
    bind_to(fds.back(), loopback(flow.family, 0));
  }
  return fds;
}

std::string run_client(const Servers& servers, const std::vector<Flow>& flows, unsigned exchanges) {
  std::string json;
  const std::vector<int> fds = bind_clients(flows);
  for (size_t i = 0; i < flows.size(); i++) {
    const Flow& flow = flows[i];
    const int fd = fds[i];
    const int server_fd = (flow.dns ? servers.udp : servers.tcp).at(flow.family);
    const Address server = local_address(server_fd);
    connect_socket(fd, server);
    const FlowReport report =
        flow.dns ? ask_dns(fd, flow, exchanges) : ask_http(fd, flow, exchanges);
    json += json.empty() ? "" : ",";
    json += flow_json(flow, report, local_address(fd).port(), server.port());
    close(fd);
  }
  return json;
}

}  // namespace

void run_smoke(const SmokeOptions& options) {
  const bool ipv6 = !options.ipv4_only && ipv6_works();
  const std::vector<Flow> flows = make_flows(ipv6);
  Servers servers;
  for (const int family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && !ipv6) continue;
    servers.tcp[family] = listen_on(loopback(family, 0), SOCK_STREAM);
    servers.udp[family] = listen_on(loopback(family, 0), SOCK_DGRAM);
  }
  const pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) run_server(servers, flows, options.exchanges);

  prctl(PR_SET_NAME, "traffic-client");
  alarm(120);
  const std::string json = run_client(servers, flows, options.exchanges);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) fail("the server failed");
  std::printf(
      "{\"client_pid\":%d,\"server_pid\":%d,\"client_name\":\"traffic-client\","
      "\"server_name\":\"traffic-server\",\"ipv6\":%s,\"exchanges\":%u,\"flows\":[%s]}\n",
      static_cast<int>(getpid()), static_cast<int>(child), ipv6 ? "true" : "false",
      options.exchanges, json.c_str());
}

}  // namespace traffic

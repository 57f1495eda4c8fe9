// SPDX-License-Identifier: Apache-2.0
// Fixed system calls through the programs of a BPF object, run in user space: what each costs in
// instructions, helper calls and tail calls, as JSON, for instruction_guard.py to compare.
//   bpf_work DIRECTORY_OF_OBJECTS
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bpf/kernel_abi.h"
#include "bpf_world.h"

namespace ebpf::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint16_t kTcp = 6, kUdp = 17;
constexpr size_t kBytes = 512;

struct BackEnd {
  const char* name;
  const char* object;
  Back back;
  bool uses_rings;
};

// The first two as on the oldest kernels, then with all that newer ones have.
constexpr BackEnd kBackEnds[] = {
    {"raw, perf buffers", "socket_trace", Back::kRaw, false},
    {"tracepoint, perf buffers", "socket_trace", Back::kTracepoint, false},
    {"raw, ring buffers", "socket_trace_atomic", Back::kRaw, true},
    {"tracepoint, ring buffers", "socket_trace_atomic", Back::kTracepoint, true},
    {"direct, ring buffers", "socket_trace_direct", Back::kRaw, true},
    {"direct, perf buffers", "socket_trace_direct", Back::kRaw, false},
};

// Calls that happened before, the one that is counted, and what shall come of it.
struct Work {
  const char* name;
  std::vector<EndedCall> before;
  EndedCall counted;
  std::vector<uint16_t> protocols;  // of the records that it makes
};

std::string padded(std::string text, size_t size = kBytes) {
  text.resize(size, 'x');
  return text;
}

std::string dns_query() {
  const std::string header("\x12\x34\1\0\0\1\0\0\0\0\0\0", 12);
  return header + std::string("\3www\7example\3com\0\0\1\0\1", 21);
}

std::string mysql_query(const std::string& text) {
  const size_t size = text.size() + 1;
  return std::string{static_cast<char>(size), static_cast<char>(size >> 8), 0, 0, 3} + text;
}

struct user_msghdr {
  uint64_t name, name_len, iov, iov_len, control, control_len, flags;
};

// The calls of a process that speaks and listens. They come after each other on sockets of their
// own, so each is as it would be alone.
class Calls {
 public:
  explicit Calls(BpfWorld& world) : world_(world) {}

  std::vector<Work> all() {
    const uint64_t request = world_.keep(padded("GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n"));
    const uint64_t response = world_.keep(padded("HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"));
    const uint64_t noise = world_.keep(std::string(kBytes, '\xf7'));
    const uint64_t name =
        world_.keep(std::string("\x02\x00\x00\x35\x7f\x00\x00\x01", 8).append(8, 0));
    const uint64_t query = world_.keep(dns_query());

    const auto known = [&] {
      const uint64_t fd = world_.open_socket(kTcp);
      return std::vector<EndedCall>{send(fd, request), receive(fd, response), send(fd, request),
                                    receive(fd, response)};
    };
    const auto known_send = known(), known_receive = known(), known_iovec = known();
    const uint64_t unknown = world_.open_socket(kTcp), client = world_.open_socket(kUdp);
    const EndedCall ask = {
        SYS_sendto, {client, query, dns_query().size(), 0, name, 16}, dns_query().size()};
    return {
        {"write to a file", {}, {SYS_write, {world_.open_file(), request, kBytes}, kBytes}, {}},
        {"send on a known socket", known_send, send(fd_of(known_send), request), kHttp},
        {"receive on a known socket",
         {known_receive.begin(), known_receive.end() - 1},
         receive(fd_of(known_receive), response),
         kHttp},
        {"recvmsg with three iovecs on a known socket",
         {known_iovec.begin(), known_iovec.end() - 1},
         scattered(fd_of(known_iovec), response),
         kHttp},
        {"first send on a new socket", {}, send(world_.open_socket(kTcp), request), kHttp},
        {"send of an unknown protocol", {send(unknown, noise)}, send(unknown, noise), {}},
        {"sendto of DNS over UDP", {ask, ask}, ask, {SOCK_DATA_DNS}},
        mysql(),
    };
  }
  EndedCall bystander() const { return {SYS_getuid, {}, 1000}; }

 private:
  static uint64_t fd_of(const std::vector<EndedCall>& calls) { return calls[0].args[0]; }
  EndedCall send(uint64_t fd, uint64_t from) const {
    return {SYS_sendto, {fd, from, kBytes, 0, 0, 0}, kBytes};
  }
  EndedCall receive(uint64_t fd, uint64_t to) const {
    return {SYS_recvfrom, {fd, to, kBytes, 0, 0, 0}, kBytes};
  }
  EndedCall scattered(uint64_t fd, uint64_t to) {
    const uint64_t iov =
        world_.keep(std::vector<uint64_t>{to, 16, to + 16, 240, to + 256, kBytes - 256});
    const uint64_t message = world_.keep(std::vector<user_msghdr>{{0, 0, iov, 3, 0, 0, 0}});
    return {SYS_recvmsg, {fd, message, 0}, kBytes};
  }
  // The server's end, which reads the four bytes of the header first.
  Work mysql() {
    const std::string query = mysql_query("SELECT 1");
    const uint64_t fd = world_.open_socket(kTcp);
    const uint64_t header = world_.keep(query.substr(0, 4)), rest = world_.keep(query.substr(4));
    const EndedCall first = {SYS_read, {fd, header, 4}, 4};
    const EndedCall second = {SYS_read, {fd, rest, query.size() - 4}, query.size() - 4};
    return {"rest of a MySQL command behind its header",
            {first, second, first},
            second,
            {SOCK_DATA_MYSQL}};
  }

  BpfWorld& world_;
  const std::vector<uint16_t> kHttp = {SOCK_DATA_HTTP1};
};

std::vector<uint16_t> protocols_of(const std::vector<std::string>& events) {
  std::vector<uint16_t> protocols;
  for (const std::string& event : events) {
    SK_BPF_DATA data;
    if (event.size() < sizeof data + KERNEL_EVENT_NOT_SENT)
      throw std::runtime_error("a short event");
    std::memcpy(&data, event.data() + KERNEL_EVENT_NOT_SENT, sizeof data);
    protocols.push_back(data.l7_protocal_hint);
  }
  return protocols;
}

Json to_json(const BpfCounts& counts) {
  return {{"instructions", counts.instructions},
          {"tail_calls", counts.tail_calls},
          {"helpers", counts.helpers}};
}

Json count(const std::string& objects, const BackEnd& end) {
  BpfWorld world;
  Calls calls(world);
  std::vector<Work> works = calls.all();
  // Tracepoints of single calls do not see it.
  if (end.back == Back::kRaw) works.insert(works.begin(), {"getuid", {}, calls.bystander(), {}});
  BpfMachine machine(objects + "/" + end.object + ".o");
  world.install(machine, end.back, end.uses_rings);
  Json counted;
  for (const Work& work : works) {
    for (const EndedCall& call : work.before) world.run(machine, end.back, call);
    machine.events.clear();
    counted[work.name] = to_json(world.run(machine, end.back, work.counted));
    if (protocols_of(machine.events) != work.protocols) {
      throw std::runtime_error(std::string(end.name) + ": " + work.name +
                               " does not make the records that it shall make");
    }
  }
  return counted;
}

int run(const std::string& objects) {
  Json document;
  for (const BackEnd& end : kBackEnds) document[end.name] = count(objects, end);
  std::cout << document.dump(2) << std::endl;
  return 0;
}

}  // namespace
}  // namespace ebpf::bench

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: bpf_work DIRECTORY_OF_OBJECTS");
  return ebpf::bench::run(argv[1]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "bpf_work: %s\n", error.what());
  return 1;
}

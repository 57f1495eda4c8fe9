// SPDX-License-Identifier: Apache-2.0
// A ring full of records that no kernel would make: every field at its limits, every byte in
// names and payloads. Served over a control socket until standard input ends, so that
// agents can be held against each other on it.
//   hostile_ring SOCKET RECORDS      prints "ready" when agents may come
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "producer/consumer_slots.h"
#include "producer/control_server.h"
#include "producer/ring_writer.h"

namespace {

constexpr uint32_t kLanes = 2;
constexpr uint64_t kLimits[] = {0,       1,         9,          10,        999999,
                                1000000, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};

class Source {
 public:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  uint64_t limit() { return below(2) ? kLimits[below(std::size(kLimits))] : random_(); }

  void fill(uint8_t* bytes, size_t count) {
    const uint64_t kind = below(4);
    for (size_t i = 0; i < count; ++i) bytes[i] = byte(kind);
  }

  // An address with runs of zeros, as the abbreviations of IPv6 care about.
  void fill_address(uint8_t (&address)[16]) {
    std::memset(address, 0, sizeof address);
    for (size_t i = 0; i < sizeof address; i += 2) {
      if (below(3) == 0) address[i + 1] = static_cast<uint8_t>(random_());
      if (below(5) == 0) address[i] = static_cast<uint8_t>(random_());
    }
    if (below(4) == 0) address[10] = address[11] = 0xff;
  }

  SK_BPF_DATA data(uint32_t cap_len) {
    SK_BPF_DATA data{};
    data.process_id = static_cast<uint32_t>(limit());
    data.thread_id = static_cast<uint32_t>(limit());
    fill(data.process_name, sizeof data.process_name);
    fill_address(data.tuple.raddr);
    fill_address(data.tuple.laddr);
    const uint8_t lengths[] = {4, 6, 6, 0, 5, 255};
    data.tuple.addr_len = lengths[below(std::size(lengths))];
    data.tuple.protocol = static_cast<uint8_t>(limit());
    data.tuple.rport = static_cast<uint16_t>(limit());
    data.tuple.lport = static_cast<uint16_t>(limit());
    data.socket_id = limit();
    const uint16_t protocols[] = {0, 20, 21, 40, 60, 80, 100, 120, 22, 65535};
    data.l7_protocal_hint = protocols[below(std::size(protocols))];
    data.msg_type = static_cast<uint8_t>(below(5));
    data.need_reconfirm = below(2) != 0;
    data.tcp_seq = limit();
    data.syscall_trace_id_call = limit();
    data.timestamp = below(2) ? limit() : 1700000000000000 + below(1ull << 40);
    data.direction = static_cast<uint8_t>(below(4));
    data.syscall_len = limit();
    data.cap_len = cap_len;
    data.cap_seq = limit();
    return data;
  }

 private:
  uint8_t byte(uint64_t kind) {
    static constexpr char kText[] = "GET /index.html \\\"\t\r\n\n\x1b\x7f";
    if (kind == 0) return static_cast<uint8_t>(random_());
    if (kind == 1) return static_cast<uint8_t>(kText[below(sizeof kText)]);
    // Lines that are long enough to be cut, at an escape or beside it.
    if (kind == 2) return below(8) ? 'a' : static_cast<uint8_t>(0x80 + below(128));
    return below(100) ? static_cast<uint8_t>(' ' + below(95)) : '\n';
  }

  std::mt19937_64 random_{20240229};
};

void publish(ebpf::RingWriter& writer, uint64_t records) {
  Source source;
  for (uint64_t i = 0; i < records; ++i) {
    const auto lane = static_cast<uint32_t>(source.below(kLanes));
    if (source.below(50) == 0) {
      const uint32_t cause = source.below(2) ? EBPF_GAP_PERF_FULL : EBPF_GAP_NO_ROOM;
      writer.append_gap(lane, cause, source.limit(), source.limit());
    }
    const auto cap_len = static_cast<uint32_t>(source.below(EBPF_CAP_BYTES_DEFAULT + 1));
    ebpf_record* record = writer.reserve(lane, cap_len);
    record->data = source.data(cap_len);
    source.fill(reinterpret_cast<uint8_t*>(record + 1), cap_len);
    writer.commit(lane);
    writer.publish(lane);
  }
}

bool input_ended() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char ignored[64];
  return ::poll(&input, 1, 0) > 0 && ::read(STDIN_FILENO, ignored, sizeof ignored) <= 0;
}

int fail(const ebpf::Error& error) {
  std::fprintf(stderr, "hostile_ring: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const uint64_t records = std::strtoull(argv[2], nullptr, 10);

  ebpf::ConsumerSlots slots(EBPF_CONSUMERS_DEFAULT, kLanes, 0);
  ebpf::RingOptions options;
  options.lane_count = kLanes;
  options.ring_records = 16384;
  auto writer = ebpf::RingWriter::create(options, slots);
  if (!writer) return fail(writer.error());
  publish(**writer, records);

  ebpf::ControlHandlers handlers;
  handlers.fill_stats = [](ebpf_msg_stats*) {};
  handlers.fill_offsets = [](ebpf_msg_offsets*) {};
  handlers.start = handlers.stop = [] { return ebpf::Result<>(ebpf::Unit{}); };
  auto server = ebpf::ControlServer::create(argv[1], std::move(handlers), slots, **writer,
                                            [](ebpf::LogLevel, const std::string&) {});
  if (!server) return fail(server.error());

  std::puts("ready");
  std::fflush(stdout);
  while (!input_ended()) {
    (*server)->run_once(10);
    slots.quiet_point();
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The producer's side of the control protocol: a server with a ring, and a peer that sends it
// anything. An input is a sequence of packets: flags (1 a descriptor comes along, 2 a second
// connection), a length (2 bytes), the bytes.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "producer/control_server.h"
#include "tests/fuzz/fuzz_support.h"

namespace ebpf::fuzz {
namespace {

constexpr char kPath[] = "control-fuzz/producer.sock";
constexpr Rate kAny{1e9, 1e9};

RingOptions small_ring() {
  RingOptions options;
  options.ring_records = 64;
  options.max_consumers = 2;
  return options;
}

struct Producer {
  Producer() : slots(2, 1, 0) {
    auto made = RingWriter::create(small_ring(), slots);
    must(made.has_value(), "a ring");
    writer = std::move(*made);
    mkdir("control-fuzz", 0700);
    ControlHandlers handlers;
    handlers.start = []() -> Result<> { return Unit{}; };
    handlers.stop = []() -> Result<> { return Error{EBUSY, "not now\n\x1b[2J"}; };
    auto served =
        ControlServer::create(kPath, handlers, slots, *writer,
                              [](LogLevel, const std::string& line) { must_be_line(line); },
                              {kAny, kAny, kAny, kAny, kAny});
    must(served.has_value(), "a server");
    server = std::move(*served);
  }

  void run() {
    for (int i = 0; i < 3; ++i) {
      server->run_once(0);
      slots.quiet_point();
    }
  }

  ConsumerSlots slots;
  std::unique_ptr<RingWriter> writer;
  std::unique_ptr<ControlServer> server;
};

UniqueFd connect_to_it() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, kPath, sizeof kPath);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  must(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
       "a connection");
  return fd;
}

void send_packet(int fd, const std::string& bytes, bool with_descriptor) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (with_descriptor) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  (void)sendmsg(fd, &header, MSG_NOSIGNAL);
}

void check_answer(const std::vector<uint8_t>& packet) {
  ebpf_msg_header header;
  must(packet.size() >= sizeof header, "an answer has a header");
  std::memcpy(&header, packet.data(), sizeof header);
  must(header.magic == EBPF_MSG_MAGIC && header.version == EBPF_PROTOCOL_VERSION &&
           header.length_bytes == packet.size(),
       "an answer is a message");
  if (header.type != EBPF_MSG_ERROR) return;
  ebpf_msg_error error;
  must(packet.size() == sizeof error, "an error message is whole");
  std::memcpy(&error, packet.data(), sizeof error);
  must(error.error > 0 && error.text[sizeof error.text - 1] == '\0', "an error with a text");
  must_be_line(error.text);
}

void read_answers(int fd) {
  std::vector<uint8_t> packet(1 << 16);
  for (;;) {
    packet.resize(1 << 16);
    const ssize_t got = recv(fd, packet.data(), packet.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    packet.resize(static_cast<size_t>(got));
    check_answer(packet);
  }
}

}  // namespace
}  // namespace ebpf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ebpf::fuzz;
  static Producer& producer = *new Producer;
  Input input(data, size);
  ebpf::UniqueFd fds[2] = {connect_to_it(), connect_to_it()};
  while (input.left() > 0) {
    const auto flags = input.take<uint8_t>();
    const auto length = input.take<uint16_t>();
    const int fd = fds[flags >> 1 & 1].get();
    send_packet(fd, input.take_bytes(length), flags & 1);
    producer.run();
    read_answers(fd);
  }
  for (ebpf::UniqueFd& fd : fds) fd.reset();
  for (int i = 0; i < 100 && producer.slots.count() > 0; ++i) producer.run();
  producer.run();
  must(producer.slots.count() == 0, "who hung up holds nothing");
  return 0;
}

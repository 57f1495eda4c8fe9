// SPDX-License-Identifier: Apache-2.0
// The other side of the control protocol: ebpfctl's client and an agent's link, and a producer
// that answers anything. An input is what to ask (1 byte), then packets: the message that it
// starts as (1 byte), its length (2), descriptors (1), changes (1) and for each of these a
// place (2) and a value (1).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vector>

#include "consumer/attachment.h"
#include "consumer/control_client.h"
#include "consumer/producer_link.h"
#include "tests/fuzz/fuzz_support.h"

namespace ebpf::fuzz {
namespace {

constexpr char kPath[] = "client-fuzz/producer.sock";
constexpr uint64_t kDataBytes = 4096;

class Listener {
 public:
  Listener() : fd_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    mkdir("client-fuzz", 0700);
    unlink(kPath);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, kPath, sizeof kPath);
    must(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
             listen(fd_.get(), 4) == 0,
         "a socket to listen on");
  }
  UniqueFd accept() const { return UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  UniqueFd fd_;
};

template <class Message>
std::string message(ebpf_msg_type type) {
  Message whole{};
  ebpf_msg_header header{EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, static_cast<uint16_t>(type),
                         sizeof whole, 0};
  std::memcpy(&whole, &header, sizeof header);
  return {reinterpret_cast<const char*>(&whole), sizeof whole};
}

std::string message_of(uint8_t kind) {
  switch (kind) {
    case 0:
      return message<ebpf_msg_error>(EBPF_MSG_ERROR);
    case 1: {
      std::string bytes = message<ebpf_msg_joined>(EBPF_MSG_JOINED);
      const ebpf_msg_joined joined{{}, 1, kDataBytes, EBPF_CONTROL_BYTES, 1};
      std::memcpy(bytes.data() + sizeof joined.header,
                  reinterpret_cast<const char*>(&joined) + sizeof joined.header,
                  sizeof joined - sizeof joined.header);
      return bytes;
    }
    case 2:
      return message<ebpf_msg_stats>(EBPF_MSG_STATS);
    case 3:
      return message<ebpf_msg_offsets>(EBPF_MSG_OFFSETS);
    case 4:
      return message<ebpf_msg_header>(EBPF_MSG_OK);
    case 5:
      return message<ebpf_msg_header>(EBPF_MSG_DOORBELL);
    default:
      return std::string(64, '\0');
  }
}

std::string packet_of(Input& input) {
  std::string bytes = message_of(input.take<uint8_t>());
  const auto length = input.take<uint16_t>();
  if (length != 0) bytes.resize(length, 'x');
  input.take<uint8_t>();  // descriptors: see there
  for (auto changes = input.take<uint8_t>(); changes > 0; --changes) {
    const auto at = input.take<uint16_t>();
    const auto value = input.take<char>();
    if (at < bytes.size()) bytes[at] = value;
  }
  return bytes;
}

UniqueFd memory(uint64_t bytes, bool sealed) {
  UniqueFd fd(memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  must(ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0, "memory");
  if (sealed) fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK);
  return fd;
}

// Bits of `wanted`: 0 data, 1 control, 2 a third one, 3 not sealed, 4 too small.
void send_packet(int socket, const std::string& bytes, uint8_t wanted) {
  std::vector<UniqueFd> memories;
  const uint64_t size = wanted & 16 ? 100 : kDataBytes;
  if (wanted & 1) memories.push_back(memory(size, !(wanted & 8)));
  if (wanted & 2) memories.push_back(memory(EBPF_CONTROL_BYTES, !(wanted & 8)));
  if (wanted & 4) memories.push_back(memory(1, true));
  std::vector<int> fds;
  for (const UniqueFd& one : memories) fds.push_back(one.get());
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  (void)sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void answer_all(const Listener& listener, Input& input) {
  const UniqueFd peer = listener.accept();
  for (int packets = 0; input.left() > 0 && packets < 4; ++packets) {
    const uint8_t descriptors = input.left() > 3 ? input.data()[3] : 0;
    const std::string bytes = packet_of(input);
    send_packet(peer.get(), bytes, descriptors);
  }
}

void ask(const Listener& listener, Input& input, uint8_t what) {
  auto client = ControlClient::connect(kPath, std::chrono::milliseconds(20000));
  must(client.has_value(), "a connection");
  answer_all(listener, input);
  if (what == 0) {
    auto stats = client->get_stats();
    must(!stats || stats->lane_count <= EBPF_LANES_MAX, "no more lanes than there can be");
    if (!stats) must_be_line(stats.error().message);
  } else if (what == 1) {
    auto offsets = client->get_offsets();
    must(!offsets || offsets->entry_count <= EBPF_OFFSET_ENTRIES_MAX, "so many offsets");
    if (!offsets) must_be_line(offsets.error().message);
  } else if (auto done = what == 2 ? client->start() : client->stop(); !done) {
    must_be_line(done.error().message);
  }
}

void join(const Listener& listener, Input& input) {
  auto link = ProducerLink::connect(kPath, "fuzz");
  must(link.has_value(), "a connection");
  answer_all(listener, input);
  auto answer = link->receive_answer();
  if (!answer) return must_be_line(answer.error().message);
  if (!*answer) return;
  if (auto attached = Attachment::create(std::move(**answer)); !attached) {
    must_be_line(attached.error().message);
  }
  while (link->drain()) {
  }
  if (link->reason().code != 0) must_be_line(link->reason().message);
}

}  // namespace
}  // namespace ebpf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ebpf::fuzz;
  static const Listener& listener = *new Listener;
  Input input(data, size);
  const auto what = input.take<uint8_t>();
  if (what < 4) {
    ask(listener, input, what);
  } else {
    join(listener, input);
  }
  return 0;
}

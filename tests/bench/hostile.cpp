// SPDX-License-Identifier: Apache-2.0
#include "hostile.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "libebpf/control.h"
#include "libebpf/detail/unique_fd.h"
#include "libebpf/shm_atomic.h"

namespace ebpf::bench {
namespace {

// The joining half of the control protocol, without the checks that an honest one makes.
Result<UniqueFd> join(int socket, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_error("hostile consumer: connect");
  }
  ebpf_msg_join request{};
  request.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_JOIN, sizeof request, 0};
  request.layout_version = EBPF_RING_LAYOUT_VERSION;
  std::memcpy(request.name, "hostile", 8);
  if (send(socket, &request, sizeof request, MSG_NOSIGNAL) < 0) return errno_error("send");

  ebpf_msg_joined joined{};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  iovec part{&joined, sizeof joined};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(socket, &header, 0);
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (got != sizeof joined || rights == nullptr || rights->cmsg_len != CMSG_LEN(2 * sizeof(int))) {
    return Error{EPROTO, "hostile consumer: was not let in"};
  }
  int fds[2];
  std::memcpy(fds, CMSG_DATA(rights), sizeof fds);
  close(fds[0]);
  return UniqueFd(fds[1]);
}

[[noreturn]] void scribble(ebpf_control_page* page) {
  std::mt19937_64 random(7);
  auto* words = reinterpret_cast<uint64_t*>(page);
  for (;;) {
    const uint64_t value = random();
    shm_store_relaxed_u64(&words[value % (EBPF_CONTROL_BYTES / sizeof(uint64_t))], value >> 13);
    shm_store_relaxed_u32(&page->lanes[0].pin, static_cast<uint32_t>(value) % 128);
    shm_store_relaxed_u32(&page->sleeping, 1 + static_cast<uint32_t>(value >> 32) % 2);
  }
}

}  // namespace

void be_hostile(const ChannelOptions& options, Board& board) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  auto control = join(socket.get(), options.directory + "/producer.sock");
  if (!control) return board.fail(board.failure, control.error().message);
  void* at =
      mmap(nullptr, EBPF_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, control->get(), 0);
  if (at == MAP_FAILED) return board.fail(board.failure, "hostile consumer: mmap");
  pin_to(Cpu::kLast);
  scribble(static_cast<ebpf_control_page*>(at));
}

}  // namespace ebpf::bench

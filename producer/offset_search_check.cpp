// SPDX-License-Identifier: Apache-2.0
// The proof of the table: a socket is read through it on every CPU, as the tracer will.
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "producer/offset_search_candidates.h"
#include "producer/offset_search_sockets.h"
#include "producer/offset_search_steps.h"

namespace ebpf::search {
namespace {

// The CPUs that this thread may use.
Result<std::vector<int>> allowed_cpus() {
  // The kernel may have more CPUs than a cpu_set_t has room for.
  for (int count = CPU_SETSIZE; count <= 1 << 20; count *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(count));
    if (set == nullptr) break;
    size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(count));
    bool fits = sched_getaffinity(0, bytes, set) == 0;
    int error = errno;
    std::vector<int> cpus;
    for (int cpu = 0; fits && cpu < count; cpu++)
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) cpus.push_back(cpu);
    CPU_FREE(set);
    if (fits) return cpus;
    if (error != EINVAL) return errno_error("sched_getaffinity", error);
  }
  return errno_error("sched_getaffinity", EINVAL);
}

// False: the CPU cannot be used, e.g. it went offline.
bool move_to_cpu(int cpu) {
  size_t count = static_cast<size_t>(cpu) + 1;
  cpu_set_t* set = CPU_ALLOC(count);
  if (set == nullptr) return false;
  size_t bytes = CPU_ALLOC_SIZE(count);
  CPU_ZERO_S(bytes, set);
  CPU_SET_S(static_cast<size_t>(cpu), bytes, set);
  bool moved = sched_setaffinity(0, bytes, set) == 0;
  CPU_FREE(set);
  return moved;
}

// The name of the first field that does not show what the system calls say; null: all do.
Result<const char*> wrong_field(SearchState& state, int fd, int family) {
  const offsets_table& table = state.table;
  auto file = file_of(state, fd);
  if (!file) return file.error();
  auto file_bytes = state.reader.read(*file, kFileWindow);
  if (!file_bytes) return file_bytes.error();
  uint64_t inode = 0;
  file_bytes->get(table.file_inode, &inode);
  auto inode_bytes = state.reader.read(inode, kInodeWindow);
  if (!inode_bytes) return inode_bytes.error();
  struct stat status {};
  if (fstat(fd, &status) != 0) return errno_error("fstat");
  if (!inode_bytes->holds(table.inode_ino, static_cast<uint64_t>(status.st_ino)))
    return "inode.i_ino";
  if (!inode_bytes->holds(table.inode_mode, static_cast<uint16_t>(status.st_mode)))
    return "inode.i_mode";

  auto sock = sock_window(state, fd);
  if (!sock) return sock.error();
  auto tcp = tcp_state(fd);
  if (!tcp) return tcp.error();
  Address local = local_address(fd), peer = peer_address(fd);
  if (!sock->holds(table.sock_family, static_cast<uint16_t>(family))) return "sock.skc_family";
  if (!sock->holds(table.sock_state, *tcp)) return "sock.skc_state";
  if (!sock->holds(table.sock_daddr, peer.ipv4())) return "sock.skc_daddr";
  if (!sock->holds(table.sock_rcv_saddr, local.ipv4())) return "sock.skc_rcv_saddr";
  if (!sock->holds(table.sock_dport, htons(peer.port()))) return "sock.skc_dport";
  if (!sock->holds(table.sock_num, local.port())) return "sock.skc_num";
  if (family == AF_INET6 && !sock->holds(table.sock_v6_daddr, peer.ipv6()))
    return "sock.skc_v6_daddr";
  if (family == AF_INET6 && !sock->holds(table.sock_v6_rcv_saddr, local.ipv6()))
    return "sock.skc_v6_rcv_saddr";
  if (!sock->holds(table.sock_type, uint16_t{SOCK_STREAM})) return "sock.sk_type";
  if (!sock->holds(table.sock_protocol, uint8_t{IPPROTO_TCP})) return "sock.sk_protocol";
  return nullptr;
}

}  // namespace

Result<uint32_t> check_every_cpu(SearchState& state) {
  constexpr const char* kStep = "check on every CPU";
  auto cpus = allowed_cpus();
  if (!cpus) return field_error(kStep, cpus.error());
  int family = state.has_ipv6 ? AF_INET6 : AF_INET;
  uint32_t checked = 0;
  for (int cpu : *cpus) {
    if (!move_to_cpu(cpu)) continue;
    auto pair = make_tcp_pair(family, next_loopback_address(), next_loopback_address());
    if (!pair) return field_error(kStep, pair.error());
    for (const UniqueFd* fd : {&pair->client, &pair->accepted}) {
      auto wrong = wrong_field(state, fd->get(), family);
      if (!wrong) return field_error(kStep, wrong.error());
      if (*wrong != nullptr) {
        return field_error(*wrong, {EIO, "on CPU " + std::to_string(cpu) +
                                             " it does not show what the system calls say"});
      }
    }
    checked++;
  }
  if (checked == 0) return field_error(kStep, {EIO, "no CPU could be used"});
  return checked;
}

}  // namespace ebpf::search

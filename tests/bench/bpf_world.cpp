// SPDX-License-Identifier: Apache-2.0
#include "bpf_world.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstring>

namespace ebpf::bench {
namespace {

constexpr uint32_t kProcess = 4242, kThread = 4243;
constexpr uint64_t kUserCs = 0x33;
constexpr uint64_t kUserIp = 0x401000;
constexpr uint16_t kInet = 2;
constexpr uint16_t kStream = 1, kDatagram = 2;
constexpr uint16_t kTcp = 6;

// In the order of enum stage in bpf/maps.bpf.h.
constexpr const char* kStages[] = {"gather", "classify", "classify_more", "emit"};

template <class T>
uint64_t address_of(const T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

// struct pt_regs of x86-64, in words.
std::vector<uint64_t> registers(const EndedCall& call) {
  const auto& args = call.args;
  return {0,       0,       0,       0,        0,       0,       0,
          args[3], args[5], args[4], call.ret, kUserIp, args[2], args[1],
          args[0], call.nr, kUserIp, kUserCs,  0,       0,       0};
}

const char* enter_program(uint64_t nr) {
  if (nr == SYS_sendto || nr == SYS_recvfrom) return "tp_enter6";
  return nr == SYS_sendmmsg || nr == SYS_recvmmsg ? "tp_enter4" : "tp_enter3";
}

}  // namespace

BpfWorld::BpfWorld() : task_{kThread, kProcess, "worker", address_of(files_)} {
  files_.table = address_of(table_);
  table_ = {kFilesMax, reinterpret_cast<uint64_t>(fds_.data())};
}

#define EBPF_AT(type, field) static_cast<uint32_t>(offsetof(type, field))
offsets_table BpfWorld::offsets() {
  offsets_table at = {};
  at.task_files = EBPF_AT(Task, files);
  at.files_fdt = EBPF_AT(Files, table);
  at.fdt_max_fds = EBPF_AT(Table, max_fds);
  at.fdt_fd = EBPF_AT(Table, fd);
  at.file_inode = EBPF_AT(File, inode);
  at.file_private_data = EBPF_AT(File, private_data);
  at.inode_mode = EBPF_AT(Inode, mode);
  at.inode_ino = EBPF_AT(Inode, number);
  at.socket_sk = EBPF_AT(Socket, sk);
  at.sock_family = EBPF_AT(Sock, family);
  at.sock_state = EBPF_AT(Sock, state);
  at.sock_daddr = EBPF_AT(Sock, daddr);
  at.sock_rcv_saddr = EBPF_AT(Sock, rcv_saddr);
  at.sock_dport = EBPF_AT(Sock, dport);
  at.sock_num = EBPF_AT(Sock, num);
  at.sock_v6_daddr = EBPF_AT(Sock, v6_daddr);
  at.sock_v6_rcv_saddr = EBPF_AT(Sock, v6_rcv_saddr);
  at.sock_flags = EBPF_AT(Sock, flags);
  at.sock_protocol = EBPF_AT(Sock, protocol);
  at.sock_protocol_bytes = 2;
  at.sock_type = EBPF_AT(Sock, type);
  at.tcp_copied_seq = EBPF_AT(Sock, copied_seq);
  at.tcp_write_seq = EBPF_AT(Sock, write_seq);
  at.tcp_rcv_nxt = EBPF_AT(Sock, rcv_nxt);
  return at;
}
#undef EBPF_AT

uint64_t BpfWorld::add(uint16_t mode) {
  const size_t fd = open_.size();
  File& file = open_.emplace_back();
  file.inode = address_of(file.inode_memory);
  file.inode_memory = {mode, 1000 + fd};
  fds_.at(fd) = address_of(file);
  return fd;
}

uint64_t BpfWorld::open_file() { return add(S_IFREG); }

uint64_t BpfWorld::open_socket(uint16_t protocol) {
  const uint64_t fd = add(S_IFSOCK);
  File& file = open_[fd];
  file.private_data = address_of(file.socket_memory);
  file.socket_memory.sk = address_of(file.sock_memory);
  file.sock_memory = {};
  file.sock_memory.family = kInet;
  file.sock_memory.protocol = protocol;
  file.sock_memory.type = protocol == kTcp ? kStream : kDatagram;
  file.sock_memory.daddr = file.sock_memory.rcv_saddr = 0x0100007f;
  file.sock_memory.dport = 0x901f;
  file.sock_memory.num = static_cast<uint16_t>(40000 + fd);
  return fd;
}

uint64_t BpfWorld::keep(const std::string& bytes) {
  auto& memory = kept_.emplace_back((bytes.size() + 7) / 8 + 1);
  std::memcpy(memory.data(), bytes.data(), bytes.size());
  return reinterpret_cast<uint64_t>(memory.data());
}

void BpfWorld::install(BpfMachine& machine, Back back, bool uses_rings) {
  machine.surroundings = {address_of(task_), address_of(task_.name),
                          uint64_t{kProcess} << 32 | kThread, 1'000'000};
  machine.add_memory(&task_, sizeof task_);
  machine.add_memory(&files_, sizeof files_);
  machine.add_memory(&table_, sizeof table_);
  machine.add_memory(fds_.data(), sizeof fds_);
  for (const File& file : open_) machine.add_memory(&file, sizeof file);
  for (const auto& memory : kept_) machine.add_memory(memory.data(), memory.size() * 8);

  tracer_config config = {};
  config.enabled = 1;
  config.lane_count = 1;
  config.cap_bytes = 512;
  config.cpu_count = 1;
  config.id_base = 1'000'000;
  config.protocols = PROTOCOLS_ALL;
  config.transport = uses_rings ? EVENTS_IN_RINGS : EVENTS_IN_PERF_BUFFERS;
  config.wake_mask = 511;
  machine.first<tracer_config>("config_map") = config;
  machine.first<offsets_table>("offsets_map") = offsets();
  if (machine.find_map(".rodata.constants")) {
    machine.first<tracer_constants>(".rodata.constants") = {config, offsets()};
  }

  if (machine.find_map(".rodata.constants")) {
    machine.first<tracer_constants>(".rodata.constants") = {config, offsets()};
  }

  const std::string prefix = back == Back::kRaw ? "raw_" : "tp_";
  for (uint32_t stage = 0; stage < std::size(kStages); ++stage) {
    machine.chain("stages_map", stage, prefix + kStages[stage]);
  }
}

BpfCounts BpfWorld::run(BpfMachine& machine, Back back, const EndedCall& call) const {
  if (back == Back::kRaw) {
    const std::vector<uint64_t> regs = registers(call);
    machine.add_memory(regs.data(), regs.size() * 8);
    return machine.run("raw_exit", {reinterpret_cast<uint64_t>(regs.data()), call.ret});
  }
  const auto& args = call.args;
  BpfCounts counts = machine.run(
      enter_program(call.nr), {0, call.nr, args[0], args[1], args[2], args[3], args[4], args[5]});
  counts += machine.run("tp_exit", {0, call.nr, call.ret});
  return counts;
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// A kernel of plain structs, and a process in it: what the programs find behind a descriptor, and
// the registers of a system call that has ended.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "bpf/kernel_abi.h"
#include "bpf_machine.h"
#include "ended_call.h"

namespace ebpf::bench {

enum class Back { kRaw, kTracepoint };

class BpfWorld {
 public:
  BpfWorld();
  BpfWorld(const BpfWorld&) = delete;

  // Gives the machine this memory, and what user space fills in: offsets, settings, programs.
  void install(BpfMachine& machine, Back back, bool uses_rings);
  // Runs what is attached to the call's begin and end.
  BpfCounts run(BpfMachine& machine, Back back, const EndedCall& call) const;

  // Descriptors.
  uint64_t open_file();
  uint64_t open_socket(uint16_t protocol);

  // User memory that holds `bytes`.
  uint64_t keep(const std::string& bytes);
  template <class T>
  uint64_t keep(const std::vector<T>& values) {
    return keep(
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }

 private:
  static constexpr size_t kFilesMax = 64;
  // These begin as those of bpf/kernel_types.bpf.h do: direct loads have their offsets in the
  // programs.
  struct Inode {
    uint16_t mode;
    uint64_t number;
  };
  struct Sock {
    uint16_t family;
    uint64_t flags;
    uint16_t protocol, type;
    uint32_t reserved;
    uint32_t rcv_nxt, copied_seq, write_seq;
    uint32_t daddr, rcv_saddr;
    uint8_t v6_daddr[16], v6_rcv_saddr[16];
    uint16_t dport, num;
    uint8_t state;
  };
  struct Socket {
    uint64_t sk;
  };
  struct File {
    uint64_t inode;
    uint64_t private_data;
    Inode inode_memory;
    Socket socket_memory;
    Sock sock_memory;
  };
  struct Table {
    uint64_t max_fds;
    uint64_t fd;
  };
  struct Files {
    uint64_t table;
  };
  struct Task {
    uint32_t thread, process;
    char name[16];
    uint64_t files;
  };

  static offsets_table offsets();
  uint64_t add(uint16_t mode);

  Task task_;
  Files files_ = {};
  Table table_ = {};
  std::array<uint64_t, kFilesMax> fds_ = {};
  std::deque<File> open_;
  std::deque<std::vector<uint64_t>> kept_;
};

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
// The steps of the offset search, in order; each needs what the ones before it found.
// Everything here runs on the searching thread, which has a descriptor table of its own.
#pragma once

#include <cstdint>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"
#include "producer/log.h"
#include "producer/offset_search_reader.h"

namespace ebpf::search {

class Candidates;

struct SearchState {
  KernelReader& reader;
  const LogSink& log;
  offsets_table table{};
  bool has_ipv6 = true;
};

// Object sizes are not known, so windows are wide; what lies behind an object is noise that
// the comparisons remove.
constexpr uint32_t kTaskWindow = 16384;
constexpr uint32_t kFilesWindow = 1024;
constexpr uint32_t kFdtableWindow = 128;
constexpr uint32_t kFileWindow = 512;
constexpr uint32_t kInodeWindow = 1024;
constexpr uint32_t kSocketWindow = 128;
constexpr uint32_t kSockWindow = 4096;

// task_struct → files_struct → fdtable → file → inode, socket → sock.
Result<> find_descriptor_table(SearchState& state);
Result<> find_inode(SearchState& state);
Result<> find_socket(SearchState& state);
// struct sock, then struct tcp_sock.
Result<> find_sock_fields(SearchState& state);
Result<> find_sequence_numbers(SearchState& state);
// On every CPU that the thread may use: a socket is read through the whole table, and must
// show what the system calls say. Returns the number of CPUs.
Result<uint32_t> check_every_cpu(SearchState& state);

// sk_protocol and its size, from the offsets at which the known protocols stand as a byte,
// and as 16 bits. Before Linux 5.6 it is a bit field of 8 directly before sk_type, which
// makes 16 bits something else; since then it is 16 bits with a zero in the upper half.
struct ProtocolField {
  uint32_t offset;
  uint32_t bytes;
};
Result<ProtocolField> protocol_field(const Candidates& byte, const Candidates& word);

// Through what was found so far: the struct file, socket, sock of a descriptor.
Result<uint64_t> file_of(SearchState& state, int fd);
Result<uint64_t> socket_of(SearchState& state, int fd);
Result<uint64_t> sock_of(SearchState& state, int fd);
Result<Window> sock_window(SearchState& state, int fd);

}  // namespace ebpf::search

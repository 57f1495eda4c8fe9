// SPDX-License-Identifier: Apache-2.0
// Small BPF programs, written instruction by instruction.
#pragma once

#include <linux/bpf.h>

#include <vector>

namespace ebpf::bench {

inline bpf_insn insn(int code, int to, int from, int off, int imm) {
  bpf_insn it = {};
  it.code = static_cast<__u8>(code);
  it.dst_reg = static_cast<__u8>(to & 15);
  it.src_reg = static_cast<__u8>(from & 15);
  it.off = static_cast<__s16>(off);
  it.imm = imm;
  return it;
}
inline bpf_insn set(int to, int imm) { return insn(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, imm); }
inline bpf_insn copy(int to, int from) { return insn(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
inline bpf_insn alu(int op, int to, int imm) { return insn(BPF_ALU64 | op | BPF_K, to, 0, 0, imm); }
inline bpf_insn load(int size, int to, int from, int off) {
  return insn(BPF_LDX | BPF_MEM | size, to, from, off, 0);
}
inline bpf_insn store(int to, int off, int from) {
  return insn(BPF_STX | BPF_MEM | BPF_DW, to, from, off, 0);
}
inline bpf_insn call(int helper) { return insn(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
inline bpf_insn leave() { return insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
// `map`: its fd, or its index for bpf_machine.
inline std::vector<bpf_insn> map_of(int to, int map) {
  return {insn(BPF_LD | BPF_IMM | BPF_DW, to, BPF_PSEUDO_MAP_FD, 0, map), insn(0, 0, 0, 0, 0)};
}
inline std::vector<bpf_insn> operator+(std::vector<bpf_insn> one,
                                       const std::vector<bpf_insn>& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

// r0 = the value of key 0 (8 bytes are enough for each kind of key), which may be null.
inline std::vector<bpf_insn> look_up(int map) {
  return std::vector<bpf_insn>{set(1, 0), store(10, -8, 1), copy(2, 10), alu(BPF_ADD, 2, -8)} +
         map_of(1, map) + std::vector<bpf_insn>{call(BPF_FUNC_map_lookup_elem)};
}
inline std::vector<bpf_insn> leave_if_null() {
  return {insn(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, 0), set(0, 0), leave()};
}

// Writes the address of the map's value into its first word.
inline std::vector<bpf_insn> address_code(int map) {
  return look_up(map) + leave_if_null() + std::vector<bpf_insn>{store(0, 0, 0), set(0, 0), leave()};
}

// Writes 1 at an offset of the map's value.
inline std::vector<bpf_insn> probe_code(int map, int offset) {
  return look_up(map) + leave_if_null() +
         std::vector<bpf_insn>{set(1, 1), store(0, offset, 1), set(0, 0), leave()};
}

// A fixed piece of the work that tracing is made of: arithmetic, lookups, reads of kernel memory,
// the clock, and a copy of 480 bytes from the user address in the first argument.
std::vector<bpf_insn> reference_code(int hash_map);

}  // namespace ebpf::bench

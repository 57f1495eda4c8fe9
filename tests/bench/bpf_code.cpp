// SPDX-License-Identifier: Apache-2.0
#include "bpf_code.h"

namespace ebpf::bench {

std::vector<bpf_insn> reference_code(int hash_map) {
  constexpr int kTimes = 8;
  constexpr int kSteps = 32;
  constexpr int kUserBytes = 480;  // the stack has 512
  std::vector<bpf_insn> code = {copy(6, 1), load(BPF_DW, 7, 1, 0)};
  for (int i = 0; i < kTimes; ++i) {
    for (int step = 0; step < kSteps; ++step) {
      code.push_back(alu(step % 2 ? BPF_XOR : BPF_MUL, 7, 0x5bd1e995 + step));
    }
    code = code + look_up(hash_map) + leave_if_null();
    code = code + std::vector<bpf_insn>{copy(3, 0), copy(1, 10), alu(BPF_ADD, 1, -24), set(2, 16),
                                        call(BPF_FUNC_probe_read_kernel)};
  }
  return code + std::vector<bpf_insn>{
                    call(BPF_FUNC_ktime_get_ns),
                    load(BPF_DW, 3, 6, 0),
                    copy(1, 10),
                    alu(BPF_ADD, 1, -512),
                    set(2, kUserBytes),
                    call(BPF_FUNC_probe_read_user),
                    set(0, 0),
                    leave(),
                };
}

}  // namespace ebpf::bench

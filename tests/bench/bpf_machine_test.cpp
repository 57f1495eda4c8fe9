// SPDX-License-Identifier: Apache-2.0
// The machine that counts BPF instructions: it does with them what the kernel does.
#include "bpf_machine.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "bpf_code.h"

namespace ebpf::bench {
namespace {

using Code = std::vector<bpf_insn>;

constexpr int kNumbers = 0, kTable = 1, kStages = 2;
const std::vector<test::ModelMap> kMaps = {
    {"numbers", BPF_MAP_TYPE_ARRAY, 4, 8},
    {"table", BPF_MAP_TYPE_HASH, 8, 16},
    {"stages", BPF_MAP_TYPE_PROG_ARRAY, 4, 4},
};

bpf_insn alu32(int op, int to, int imm) { return insn(BPF_ALU | op | BPF_K, to, 0, 0, imm); }

class Machine : public testing::Test {
 protected:
  // What the code leaves in `from` goes where the test sees it.
  uint64_t result_of(const Code& code, int from = 0) {
    const Code keep =
        Code{copy(6, from), set(1, 0), store(10, -8, 1), copy(2, 10), alu(BPF_ADD, 2, -8)} +
        map_of(1, kNumbers) +
        Code{call(BPF_FUNC_map_lookup_elem), insn(BPF_STX | BPF_MEM | BPF_DW, 0, 6, 0, 0), leave()};
    BpfMachine machine({{"main", "raw_tp", code + keep, &kMaps}}, kMaps);
    machine.run("main", {0x1122334455667788, 7});
    return machine.first<uint64_t>("numbers");
  }
  std::string refusal_of(const Code& code) {
    BpfMachine machine({{"main", "raw_tp", code, &kMaps}}, kMaps);
    try {
      machine.run("main", {0});
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Machine, CalculatesInBothWidths) {
  EXPECT_EQ(result_of({set(0, -2), alu(BPF_RSH, 0, 1)}), 0x7fffffffffffffffull);
  EXPECT_EQ(result_of({set(0, -2), alu32(BPF_RSH, 0, 1)}), 0x7fffffffull);
  EXPECT_EQ(result_of({set(0, -2), alu(BPF_ARSH, 0, 1)}), ~0ull);
  EXPECT_EQ(result_of({set(0, -2), alu32(BPF_ARSH, 0, 1)}), 0xffffffffull);
  EXPECT_EQ(result_of({set(0, 7), alu(BPF_DIV, 0, 0)}), 0u);
  EXPECT_EQ(result_of({set(0, 7), alu(BPF_MOD, 0, 4)}), 3u);
  EXPECT_EQ(result_of({set(0, -1), alu32(BPF_ADD, 0, 1)}), 0u);
  EXPECT_EQ(result_of({set(0, 0x1234), insn(BPF_ALU | BPF_END | BPF_TO_BE, 0, 0, 0, 16)}), 0x3412u);
}

TEST_F(Machine, LoadsPartsOfTheContext) {
  EXPECT_EQ(result_of({load(BPF_DW, 0, 1, 0)}), 0x1122334455667788ull);
  EXPECT_EQ(result_of({load(BPF_W, 0, 1, 4)}), 0x11223344ull);
  EXPECT_EQ(result_of({load(BPF_H, 0, 1, 0)}), 0x7788ull);
  EXPECT_EQ(result_of({load(BPF_B, 0, 1, 8)}), 7u);
}

TEST_F(Machine, JumpsWithAndWithoutSigns) {
  const auto taken = [&](int kind, int op, int left, int right) {
    return result_of({set(0, 1), set(3, left), insn(kind | op | BPF_K, 3, 0, 1, right), set(0, 0)});
  };
  EXPECT_EQ(taken(BPF_JMP, BPF_JGT, -1, 1), 1u);
  EXPECT_EQ(taken(BPF_JMP, BPF_JSGT, -1, 1), 0u);
  EXPECT_EQ(taken(BPF_JMP32, BPF_JLT, -1, 1), 0u);
  EXPECT_EQ(taken(BPF_JMP32, BPF_JSLT, -1, 1), 1u);
  EXPECT_EQ(taken(BPF_JMP, BPF_JSET, 6, 2), 1u);
}

TEST_F(Machine, ChangesMemoryAtOnce) {
  const Code start = {set(3, 40), store(10, -16, 3), set(4, 2)};
  const auto atomic = [](int what) {
    return insn(BPF_STX | BPF_ATOMIC | BPF_DW, 10, 4, -16, what);
  };
  EXPECT_EQ(result_of(start + Code{atomic(BPF_ADD | BPF_FETCH)}, 4), 40u);
  EXPECT_EQ(result_of(start + Code{atomic(BPF_ADD), load(BPF_DW, 0, 10, -16)}), 42u);
  EXPECT_EQ(result_of(start + Code{set(0, 40), atomic(BPF_CMPXCHG), load(BPF_DW, 0, 10, -16)}), 2u);
  EXPECT_EQ(result_of(start + Code{set(0, 41), atomic(BPF_CMPXCHG), load(BPF_DW, 0, 10, -16)}),
            40u);
}

TEST_F(Machine, CountsInstructionsHelpersByMapAndTailCalls) {
  const Code look =
      Code{copy(6, 1), set(1, 5), store(10, -8, 1), copy(2, 10), alu(BPF_ADD, 2, -8)} +
      map_of(1, kTable) + Code{call(BPF_FUNC_map_lookup_elem)};
  const Code go_on =
      Code{copy(1, 6)} + map_of(2, kStages) + Code{set(3, 4), call(BPF_FUNC_tail_call), leave()};
  BpfMachine machine(
      {{"main", "raw_tp", look + go_on, &kMaps}, {"next", "raw_tp", {set(0, 0), leave()}, &kMaps}},
      kMaps);
  const BpfCounts alone = machine.run("main", {0});
  EXPECT_EQ(alone.instructions, 12u);  // a load of a map is one
  EXPECT_EQ(alone.tail_calls, 0u);
  machine.chain("stages", 4, "next");
  const BpfCounts counts = machine.run("main", {0});
  EXPECT_EQ(counts.instructions, 13u);
  EXPECT_EQ(counts.tail_calls, 1u);
  EXPECT_EQ(counts.helpers, (std::map<std::string, uint64_t>{{"map_lookup_elem, hash", 1}}));
}

TEST_F(Machine, CallsFunctionsOfTheProgram) {
  const bpf_insn call_function = insn(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 5);
  const Code main = {set(7, 40),
                     set(3, 1),
                     store(10, -8, 3),
                     set(1, 2),
                     call_function,
                     copy(6, 0),  // 2 + 7, and its own 40 and 1 are as they were
                     load(BPF_DW, 4, 10, -8),
                     insn(BPF_ALU64 | BPF_ADD | BPF_X, 6, 4, 0, 0),
                     insn(BPF_ALU64 | BPF_ADD | BPF_X, 6, 7, 0, 0),
                     insn(BPF_JMP | BPF_JA, 0, 0, 5, 0)};
  const Code function = {set(7, 7), store(10, -8, 7), copy(0, 1),
                         insn(BPF_ALU64 | BPF_ADD | BPF_X, 0, 7, 0, 0), leave()};
  EXPECT_EQ(result_of(main + function, 6), 2u + 7 + 1 + 40);
}

TEST_F(Machine, ReadsNothingWhereNothingIs) {
  const Code from_nowhere = {copy(1, 10), alu(BPF_ADD, 1, -8), set(2, 8), set(3, 4096),
                             call(BPF_FUNC_probe_read_kernel)};
  EXPECT_EQ(static_cast<int64_t>(result_of(from_nowhere)), -EFAULT);
  EXPECT_EQ(result_of({set(3, 4096), load(BPF_DW, 0, 3, 0)}), 0u);
}

TEST_F(Machine, SaysWhatItDoesNotKnow) {
  EXPECT_NE(refusal_of({call(BPF_FUNC_skb_load_bytes), leave()})
                .find("helper 26 (skb_load_bytes) is not known here"),
            std::string::npos);
  EXPECT_NE(refusal_of({insn(BPF_STX | BPF_MEM | BPF_DW, 1, 0, 0, 0), leave()})
                .find("instruction 0: writes where no map and no stack is"),
            std::string::npos);
  EXPECT_NE(refusal_of({set(0, 0)}).find("runs out of its code"), std::string::npos);
}

}  // namespace
}  // namespace ebpf::bench

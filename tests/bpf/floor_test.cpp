// SPDX-License-Identifier: Apache-2.0
// What Linux 4.14 demands of the floor objects, checked on their instructions: no kernel is
// needed for that.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr size_t kInstructionsMax = 4096;

// Helpers of 4.14 that are used. libbpf turns probe_read_user and probe_read_kernel into
// probe_read where the kernel has no such thing.
const std::set<int> kHelpers = {
    BPF_FUNC_map_lookup_elem,      BPF_FUNC_map_update_elem,      BPF_FUNC_map_delete_elem,
    BPF_FUNC_probe_read,           BPF_FUNC_probe_read_kernel,    BPF_FUNC_probe_read_user,
    BPF_FUNC_ktime_get_ns,         BPF_FUNC_get_smp_processor_id, BPF_FUNC_tail_call,
    BPF_FUNC_get_current_pid_tgid, BPF_FUNC_get_current_comm,     BPF_FUNC_get_current_task,
    BPF_FUNC_perf_event_output,
};

const std::set<bpf_map_type> kMapTypes = {
    BPF_MAP_TYPE_HASH,         BPF_MAP_TYPE_ARRAY,
    BPF_MAP_TYPE_PROG_ARRAY,   BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_HASH,
};

bool is_jump(const bpf_insn& it) {
  return BPF_CLASS(it.code) == BPF_JMP && BPF_OP(it.code) != BPF_CALL &&
         BPF_OP(it.code) != BPF_EXIT;
}

// Whether some path comes back to where it was: what the 4.14 verifier calls a back edge.
// A jump to a lower address alone is none.
bool has_loop(const bpf_insn* instructions, size_t count) {
  enum State : char { kNew, kOnPath, kDone };
  std::vector<State> state(count, kNew);
  std::vector<size_t> path = {0};
  const auto next_new = [&](size_t at, bool* loop) -> std::optional<size_t> {
    const bpf_insn& it = instructions[at];
    std::vector<size_t> targets;
    const bool is_exit = BPF_CLASS(it.code) == BPF_JMP && BPF_OP(it.code) == BPF_EXIT;
    if (is_jump(it)) targets.push_back(at + 1 + it.off);
    if (!is_exit && !(is_jump(it) && BPF_OP(it.code) == BPF_JA)) targets.push_back(at + 1);
    for (const size_t target : targets) {
      if (target >= count) continue;
      if (state[target] == kOnPath) *loop = true;
      if (state[target] == kNew) return target;
    }
    return std::nullopt;
  };
  bool loop = false;
  while (!path.empty() && !loop) {
    state[path.back()] = kOnPath;
    if (const auto next = next_new(path.back(), &loop)) {
      path.push_back(*next);
    } else {
      state[path.back()] = kDone;
      path.pop_back();
    }
  }
  return loop;
}

class Floor : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    object_.reset(bpf_object__open_file(GetParam(), nullptr));
    ASSERT_TRUE(object_) << GetParam();
  }
  std::unique_ptr<bpf_object, void (*)(bpf_object*)> object_{nullptr, bpf_object__close};
};

INSTANTIATE_TEST_SUITE_P(Objects, Floor, testing::Values(EBPF_FLOOR_OBJECT, EBPF_SEARCH_OBJECT),
                         [](const auto& tested) {
                           return std::string(tested.index == 0 ? "SocketTrace" : "OffsetSearch");
                         });

TEST_P(Floor, UsesOnlyMapsOf414) {
  bpf_map* map;
  bpf_object__for_each_map(map, object_.get()) {
    // .data, .bss and .rodata are maps that 4.14 does not know.
    EXPECT_FALSE(bpf_map__is_internal(map)) << bpf_map__name(map);
    EXPECT_TRUE(kMapTypes.count(bpf_map__type(map))) << bpf_map__name(map);
  }
}

TEST_P(Floor, FitsThe414Verifier) {
  size_t programs = 0;
  bpf_program* program;
  bpf_object__for_each_program(program, object_.get()) {
    programs++;
    SCOPED_TRACE(bpf_program__name(program));
    EXPECT_LE(bpf_program__insn_cnt(program), kInstructionsMax);
    const bpf_insn* instructions = bpf_program__insns(program);
    EXPECT_FALSE(has_loop(instructions, bpf_program__insn_cnt(program)));
    for (size_t i = 0; i < bpf_program__insn_cnt(program); i++) {
      const bpf_insn& it = instructions[i];
      const int kind = BPF_CLASS(it.code);
      EXPECT_NE(kind, 0x06) << i << ": 32-bit jump";
      if (kind == BPF_JMP && BPF_OP(it.code) == BPF_CALL) {
        EXPECT_EQ(it.src_reg, 0) << i << ": call of a BPF function";
        EXPECT_TRUE(kHelpers.count(it.imm)) << i << ": helper " << it.imm;
      } else if (is_jump(it)) {
        // JLT and its kin came with 4.14 itself; -mcpu=v1 has none of them.
        EXPECT_LT(BPF_OP(it.code), 0xa0) << i << ": jump that v1 does not have";
      } else if (kind == BPF_STX && BPF_MODE(it.code) == 0xc0) {
        EXPECT_EQ(it.imm, BPF_ADD) << i << ": atomic that is not a plain add";
      }
    }
  }
  EXPECT_GT(programs, 0u);
}

}  // namespace

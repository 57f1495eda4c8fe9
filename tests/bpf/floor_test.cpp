// SPDX-License-Identifier: Apache-2.0
// What Linux 4.14 demands of the floor objects, checked on their instructions: no kernel is
// needed for that. The paths are walked by a model of its verifier.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/bpf/verifier_414.h"

namespace ebpf::test {
namespace {

constexpr size_t kInstructionsMax = 4096;
constexpr size_t kMapsMax = 64;
// How much of what the kernel allows may be used up: its later stable releases count a
// little differently.
constexpr uint32_t kProcessedUsed = kProcessedMax * 3 / 4;
constexpr double kGrowthAllowed = 1.10;

const std::set<bpf_map_type> kMapTypes = {
    BPF_MAP_TYPE_HASH,         BPF_MAP_TYPE_ARRAY,
    BPF_MAP_TYPE_PROG_ARRAY,   BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_HASH,
};

class Floor : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { programs_ = read_programs(GetParam(), &maps_); }
  std::vector<ModelMap> maps_;
  std::vector<ModelProgram> programs_;
};

INSTANTIATE_TEST_SUITE_P(Objects, Floor, testing::Values(EBPF_FLOOR_OBJECT, EBPF_SEARCH_OBJECT),
                         [](const auto& tested) {
                           return std::string(tested.index == 0 ? "SocketTrace" : "OffsetSearch");
                         });

TEST_P(Floor, UsesOnlyMapsOf414) {
  for (const ModelMap& map : maps_) {
    // .data, .bss and .rodata are maps that 4.14 does not know; libbpf names them so.
    EXPECT_EQ(map.name.find('.'), std::string::npos) << map.name;
    EXPECT_TRUE(kMapTypes.count(map.type)) << map.name;
  }
  EXPECT_LE(maps_.size(), kMapsMax);
}

TEST_P(Floor, UsesOnlyTheFirstInstructionSet) {
  for (const ModelProgram& program : programs_) {
    SCOPED_TRACE(program.name);
    for (size_t i = 0; i < program.code.size(); i++) {
      const bpf_insn& it = program.code[i];
      const int kind = BPF_CLASS(it.code), op = BPF_OP(it.code);
      EXPECT_NE(kind, 0x06) << i << ": 32-bit jump";
      if (kind == BPF_ALU) {
        EXPECT_EQ(op, BPF_END) << i << ": 32-bit arithmetic";
      } else if (kind == BPF_JMP && op == BPF_CALL) {
        EXPECT_EQ(it.src_reg, 0) << i << ": call of a BPF function";
      } else if (kind == BPF_JMP && op != BPF_EXIT) {
        // JLT and its kin came with 4.14 itself; -mcpu=v1 has none of them.
        EXPECT_LT(op, 0xa0) << i << ": jump that v1 does not have";
      } else if (kind == BPF_STX && BPF_MODE(it.code) == 0xc0) {
        EXPECT_EQ(it.imm, BPF_ADD) << i << ": atomic that is not a plain add";
      }
    }
  }
}

TEST_P(Floor, PassesTheVerifierOf414) {
  ASSERT_FALSE(programs_.empty());
  for (const ModelProgram& program : programs_) {
    EXPECT_LE(program.code.size(), kInstructionsMax) << program.name;
    const Verdict verdict = verify_as_414(program);
    EXPECT_EQ(verdict.refusal, "") << program.name;
    EXPECT_LE(verdict.processed, kProcessedUsed) << program.name;
    EXPECT_LE(verdict.stack_bytes, 512u) << program.name;
  }
}

// ---- The table in the docs ----

struct Size {
  size_t instructions;
  size_t processed;
};

std::map<std::string, Size> read_table() {
  std::map<std::string, Size> table;
  std::ifstream file(EBPF_FLOOR_TABLE);
  for (std::string line; std::getline(file, line);) {
    char name[64];
    Size size;
    if (std::sscanf(line.c_str(), "| `%63[a-z0-9_]` | %zu | %zu |", name, &size.instructions,
                    &size.processed) == 3)
      table[name] = size;
  }
  return table;
}

std::map<std::string, Size> measure() {
  std::map<std::string, Size> sizes;
  for (const char* object : {EBPF_FLOOR_OBJECT, EBPF_SEARCH_OBJECT}) {
    std::vector<ModelMap> maps;
    for (const ModelProgram& program : read_programs(object, &maps))
      sizes[program.name] = {program.code.size(), verify_as_414(program).processed};
  }
  // Not for the floor, so its paths are not walked; but what it costs shall not grow unnoticed.
  const std::unique_ptr<bpf_object, void (*)(bpf_object*)> direct(
      bpf_object__open_file(EBPF_DIRECT_OBJECT, nullptr), bpf_object__close);
  EXPECT_TRUE(direct) << EBPF_DIRECT_OBJECT;
  bpf_program* program = nullptr;
  while (direct && (program = bpf_object__next_program(direct.get(), program)) != nullptr) {
    const std::string name = bpf_program__name(program);
    if (name.rfind("raw_", 0) == 0) sizes["direct_" + name] = {bpf_program__insn_cnt(program), 0};
  }
  return sizes;
}

void write_table(const std::map<std::string, Size>& sizes) {
  std::ifstream before(EBPF_FLOOR_TABLE);
  std::ostringstream text;
  for (std::string line; std::getline(before, line) && line.rfind("| `", 0) != 0;)
    text << line << "\n";
  for (const auto& [name, size] : sizes)
    text << "| `" << name << "` | " << size.instructions << " | " << size.processed << " |\n";
  std::ofstream(EBPF_FLOOR_TABLE) << text.str();
}

TEST(FloorTable, HoldsEveryProgramAndNoneGrewUnnoticed) {
  const auto sizes = measure();
  if (std::getenv("EBPF_WRITE_TABLE")) write_table(sizes);
  const auto table = read_table();
  const char* how = "; if that is meant, EBPF_WRITE_TABLE=1 build/tests/bpf_floor_test";
  for (const auto& [name, size] : sizes) {
    const auto row = table.find(name);
    ASSERT_NE(row, table.end()) << name << " is not in " << EBPF_FLOOR_TABLE << how;
    const auto allowed = [](size_t was) {
      return static_cast<size_t>(static_cast<double>(was) * kGrowthAllowed) + 1;
    };
    EXPECT_LE(size.instructions, allowed(row->second.instructions)) << name << how;
    EXPECT_LE(size.processed, allowed(row->second.processed)) << name << how;
  }
}

// ---- The model: it refuses what the kernel refuses ----

bpf_insn insn(int code, int to, int from, int off, int imm) {
  bpf_insn it = {};
  it.code = static_cast<__u8>(code);
  it.dst_reg = static_cast<__u8>(to & 15);
  it.src_reg = static_cast<__u8>(from & 15);
  it.off = static_cast<__s16>(off);
  it.imm = imm;
  return it;
}
bpf_insn set(int to, int imm) { return insn(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, imm); }
bpf_insn copy(int to, int from) { return insn(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
bpf_insn plus(int to, int imm) { return insn(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, imm); }
bpf_insn mask(int to, int imm) { return insn(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, imm); }
bpf_insn store(int off, int from) { return insn(BPF_STX | BPF_MEM | BPF_DW, 10, from, off, 0); }
bpf_insn load(int to, int from, int off) {
  return insn(BPF_LDX | BPF_MEM | BPF_DW, to, from, off, 0);
}
bpf_insn jump_if(int op, int left, int imm, int off) {
  return insn(BPF_JMP | op | BPF_K, left, 0, off, imm);
}
bpf_insn go(int off) { return insn(BPF_JMP | BPF_JA, 0, 0, off, 0); }
bpf_insn call(int id) { return insn(BPF_JMP | BPF_CALL, 0, 0, 0, id); }
bpf_insn leave() { return insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
bpf_insn map_of(int to) { return insn(BPF_LD | BPF_IMM | BPF_DW, to, 1, 0, 0); }
bpf_insn second_half() { return insn(0, 0, 0, 0, 0); }

const std::vector<ModelMap> kOneMap = {{"numbers", BPF_MAP_TYPE_ARRAY, 4, 64}};

Verdict verify(const std::vector<bpf_insn>& code) {
  return verify_as_414({"test", "tracepoint", code, &kOneMap});
}

// r0 = a value of the map, which may be null.
std::vector<bpf_insn> look_up() {
  return {set(1, 0),
          store(-8, 1),
          copy(2, 10),
          plus(2, -8),
          map_of(1),
          second_half(),
          call(BPF_FUNC_map_lookup_elem)};
}

std::vector<bpf_insn> operator+(std::vector<bpf_insn> one, const std::vector<bpf_insn>& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

void expect_refusal(const std::vector<bpf_insn>& code, const char* why) {
  const std::string said = verify(code).refusal;
  EXPECT_NE(said.find(why), std::string::npos) << "said: '" << said << "', not: " << why;
}

TEST(Verifier414, AcceptsWhatIsSound) {
  EXPECT_EQ(verify({set(0, 0), leave()}).refusal, "");
  EXPECT_EQ(
      verify(look_up() + std::vector{jump_if(BPF_JEQ, 0, 0, 1), load(1, 0, 56), set(0, 0), leave()})
          .refusal,
      "");
  // A size of 1 to 64, made by arithmetic.
  EXPECT_EQ(
      verify(look_up() + std::vector{jump_if(BPF_JNE, 0, 0, 2), set(0, 0), leave(), copy(1, 0),
                                     load(2, 0, 0), plus(2, -1), mask(2, 63), plus(2, 1), set(3, 0),
                                     call(BPF_FUNC_probe_read), set(0, 0), leave()})
          .refusal,
      "");
}

TEST(Verifier414, RefusesShapesThatTheKernelRefuses) {
  expect_refusal({set(0, 0), jump_if(BPF_JGT, 0, 5, -2), leave()}, "back-edge");
  expect_refusal({set(0, 0), go(1), set(0, 1), leave()}, "unreachable");
  expect_refusal({leave()}, "R0 !read_ok");
  expect_refusal({load(0, 1, 0), leave()}, "invalid bpf_context access");
  expect_refusal({copy(2, 1), plus(2, 8), load(0, 2, 0), leave()}, "modified ctx");
  expect_refusal({load(0, 10, -8), leave()}, "invalid read from stack");
  expect_refusal({set(1, 0), set(2, 0), call(BPF_FUNC_probe_read_str), set(0, 0), leave()},
                 "unknown func");
  expect_refusal(std::vector<bpf_insn>(5000, set(0, 0)), "4096");
}

TEST(Verifier414, RefusesMapsUsedAsTheKernelDoesNotAllow) {
  expect_refusal(look_up() + std::vector{load(1, 0, 0), set(0, 0), leave()}, "invalid mem access");
  const auto value = look_up() + std::vector{jump_if(BPF_JNE, 0, 0, 2), set(0, 0), leave()};
  expect_refusal(value + std::vector{load(1, 0, 60), set(0, 0), leave()}, "outside of the array");
  // A key that lies in a map's value (allowed since 4.18).
  expect_refusal(value + std::vector{copy(2, 0), map_of(1), second_half(),
                                     call(BPF_FUNC_map_lookup_elem), set(0, 0), leave()},
                 "on the stack");
  // A size that may be 0: `!= 0` teaches nothing.
  expect_refusal(
      value + std::vector{copy(1, 0), load(2, 0, 0), mask(2, 63), jump_if(BPF_JEQ, 2, 0, 2),
                          set(3, 0), call(BPF_FUNC_probe_read), set(0, 0), leave()},
      "outside of the array");
  // Memory that a helper reads and nobody wrote.
  expect_refusal({copy(2, 10), plus(2, -8), map_of(1), second_half(),
                  call(BPF_FUNC_map_lookup_elem), set(0, 0), leave()},
                 "invalid indirect read");
}

// A flag instead of the pointer: for this verifier a 1 may be equal to 0.
TEST(Verifier414, DoesNotFollowAFlagThatStandsForAPointer) {
  expect_refusal(look_up() + std::vector{set(6, 0), copy(7, 0), jump_if(BPF_JNE, 0, 0, 2),
                                         set(6, 1), set(7, 0), jump_if(BPF_JNE, 6, 0, 1),
                                         load(1, 7, 0), set(0, 0), leave()},
                 "R7 invalid mem access");
}

// Known values join no other ones: five bits of them are 32 paths.
TEST(Verifier414, CountsPathsAsTheKernelDoes) {
  std::vector<bpf_insn> code = {load(2, 1, 16), set(3, 0)};
  for (int i = 0; i < 5; i++)
    code =
        code + std::vector{copy(4, 2), mask(4, 1 << i), jump_if(BPF_JEQ, 4, 0, 1), plus(3, 1 << i)};
  const uint32_t processed = verify(code + std::vector{copy(0, 3), leave()}).processed;
  EXPECT_GT(processed, 32u * 3);
  // Nobody reads the number: then all of them join.
  EXPECT_LT(verify(code + std::vector{set(0, 0), leave()}).processed, processed);
}

}  // namespace
}  // namespace ebpf::test

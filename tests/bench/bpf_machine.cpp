// SPDX-License-Identifier: Apache-2.0
#include "bpf_machine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <stdexcept>

#include "bpf_helpers.h"

namespace ebpf::bench {
namespace {

constexpr uint64_t kTailCallsMax = 33;

uint64_t address_of(const void* place) { return reinterpret_cast<uint64_t>(place); }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

BpfCounts& BpfCounts::operator+=(const BpfCounts& other) {
  instructions += other.instructions;
  tail_calls += other.tail_calls;
  for (const auto& [name, count] : other.helpers) helpers[name] += count;
  return *this;
}

BpfMachine::BpfMachine(const std::string& object_path) {
  programs_ = test::read_programs(object_path, &models_);
  add_maps();
}

BpfMachine::BpfMachine(std::vector<test::ModelProgram> programs,
                       const std::vector<test::ModelMap>& maps)
    : models_(maps), programs_(std::move(programs)) {
  add_maps();
}

void BpfMachine::add_maps() {
  for (const auto& model : models_) maps_.push_back(std::make_unique<BpfMap>(model));
}

const test::ModelProgram& BpfMachine::program(std::string_view name) const {
  for (const auto& program : programs_) {
    if (program.name == name) return program;
  }
  throw std::runtime_error("the object has no program " + std::string(name));
}

BpfMap* BpfMachine::find_map(std::string_view name) {
  for (auto& map : maps_) {
    if (ends_with(map->name(), name)) return map.get();
  }
  return nullptr;
}

BpfMap& BpfMachine::map(std::string_view name) {
  if (BpfMap* map = find_map(name)) return *map;
  throw std::runtime_error("the object has no map " + std::string(name));
}

void BpfMachine::chain(std::string_view map_name, uint32_t index, std::string_view name) {
  chained_[{&map(map_name), index}] = &program(name);
}

void BpfMachine::add_memory(const void* start, size_t bytes) { memory_[address_of(start)] = bytes; }

bool BpfMachine::is_writable(uint64_t address, uint64_t bytes) const {
  if (is_inside(address, bytes, address_of(stack_), sizeof stack_)) return true;
  for (const auto& [start, record] : reserved_) {
    if (is_inside(address, bytes, start, record.bytes)) return true;
  }
  for (const auto& map : maps_) {
    if (map->holds(address, bytes)) return true;
  }
  return false;
}

bool BpfMachine::is_readable(uint64_t address, uint64_t bytes) const {
  auto behind = memory_.upper_bound(address);
  if (behind != memory_.begin()) {
    --behind;
    if (is_inside(address, bytes, behind->first, behind->second)) return true;
  }
  return is_writable(address, bytes);
}

uint64_t BpfMachine::reserve(uint64_t bytes) {
  auto memory = std::make_unique<uint64_t[]>((bytes + 7) / 8);
  const uint64_t start = address_of(memory.get());
  reserved_[start] = {std::move(memory), bytes};
  return start;
}

uint64_t BpfMachine::reserved_bytes(uint64_t address) const {
  const auto found = reserved_.find(address);
  return found != reserved_.end() ? found->second.bytes : 0;
}

// ---- A run ----

namespace {

// Arithmetic of one width; `Word` is unsigned.
template <class Word>
Word compute(int op, Word to, Word from, bool* is_known) {
  using Signed = std::make_signed_t<Word>;
  const unsigned shift = static_cast<unsigned>(from) & (8 * sizeof(Word) - 1);
  switch (op) {
    case BPF_ADD:
      return to + from;
    case BPF_SUB:
      return to - from;
    case BPF_MUL:
      return to * from;
    case BPF_DIV:
      return from ? to / from : 0;
    case BPF_MOD:
      return from ? to % from : to;
    case BPF_OR:
      return to | from;
    case BPF_AND:
      return to & from;
    case BPF_XOR:
      return to ^ from;
    case BPF_MOV:
      return from;
    case BPF_NEG:
      return static_cast<Word>(0 - to);
    case BPF_LSH:
      return static_cast<Word>(to << shift);
    case BPF_RSH:
      return static_cast<Word>(to >> shift);
    case BPF_ARSH:
      return static_cast<Word>(static_cast<Signed>(to) >> shift);
    default:
      *is_known = false;
      return 0;
  }
}

template <class Word>
bool compare(int op, Word left, Word right, bool* is_known) {
  using Signed = std::make_signed_t<Word>;
  const auto signed_left = static_cast<Signed>(left), signed_right = static_cast<Signed>(right);
  switch (op) {
    case BPF_JA:
      return true;
    case BPF_JEQ:
      return left == right;
    case BPF_JNE:
      return left != right;
    case BPF_JGT:
      return left > right;
    case BPF_JGE:
      return left >= right;
    case BPF_JLT:
      return left < right;
    case BPF_JLE:
      return left <= right;
    case BPF_JSET:
      return (left & right) != 0;
    case BPF_JSGT:
      return signed_left > signed_right;
    case BPF_JSGE:
      return signed_left >= signed_right;
    case BPF_JSLT:
      return signed_left < signed_right;
    case BPF_JSLE:
      return signed_left <= signed_right;
    default:
      *is_known = false;
      return false;
  }
}

}  // namespace

class BpfRun {
 public:
  BpfRun(BpfMachine& machine, const test::ModelProgram& program, uint64_t context)
      : machine_(machine), program_(&program), context_(context) {}

  BpfCounts run() {
    enter(*program_);
    while (!has_ended_) {
      if (at_ >= program_->code.size()) give_up("runs out of its code");
      counts_.instructions++;
      step(program_->code[at_++]);
    }
    return std::move(counts_);
  }

 private:
  [[noreturn]] void give_up(const std::string& why) const {
    throw std::runtime_error(program_->name + ", instruction " + std::to_string(at_ - 1) + ": " +
                             why);
  }

  void enter(const test::ModelProgram& program) {
    program_ = &program;
    at_ = 0;
    regs_[1] = context_;
    regs_[10] = address_of(machine_.stack_[callers_.size() + 1]);
  }

  // A function of the program; it has a stack of its own.
  void enter_function(const bpf_insn& it) {
    if (callers_.size() + 1 == BpfMachine::kFramesMax) give_up("calls too deeply");
    callers_.push_back({program_, at_, {regs_[6], regs_[7], regs_[8], regs_[9], regs_[10]}});
    regs_[10] = address_of(machine_.stack_[callers_.size() + 1]);
    at_ = static_cast<size_t>(static_cast<int64_t>(at_) + it.imm);
  }

  void leave() {
    has_ended_ = callers_.empty();
    if (has_ended_) return;
    const Caller caller = callers_.back();
    callers_.pop_back();
    program_ = caller.program;
    at_ = caller.at;
    std::copy(std::begin(caller.regs), std::end(caller.regs), &regs_[6]);
  }

  void step(const bpf_insn& it) {
    switch (BPF_CLASS(it.code)) {
      case BPF_ALU:
      case BPF_ALU64:
        calculate(it);
        break;
      case BPF_JMP:
      case BPF_JMP32:
        jump(it);
        break;
      case BPF_LD:
        load_constant(it);
        break;
      case BPF_LDX:
        regs_[it.dst_reg] = load(regs_[it.src_reg] + offset(it), size_of(it));
        break;
      case BPF_ST:
        store(regs_[it.dst_reg] + offset(it), size_of(it), number(it));
        break;
      case BPF_STX:
        if (BPF_MODE(it.code) == BPF_ATOMIC) return change_at_once(it);
        store(regs_[it.dst_reg] + offset(it), size_of(it), regs_[it.src_reg]);
        break;
    }
  }

  static uint64_t offset(const bpf_insn& it) { return static_cast<uint64_t>(int64_t{it.off}); }
  static uint64_t number(const bpf_insn& it) { return static_cast<uint64_t>(int64_t{it.imm}); }
  static uint32_t size_of(const bpf_insn& it) {
    switch (BPF_SIZE(it.code)) {
      case BPF_B:
        return 1;
      case BPF_H:
        return 2;
      case BPF_W:
        return 4;
      default:
        return 8;
    }
  }

  void calculate(const bpf_insn& it) {
    uint64_t& to = regs_[it.dst_reg];
    if (BPF_OP(it.code) == BPF_END) return swap(it, to);
    const uint64_t from = BPF_SRC(it.code) == BPF_X ? regs_[it.src_reg] : number(it);
    bool is_known = it.off == 0;
    if (BPF_CLASS(it.code) == BPF_ALU64) {
      to = compute<uint64_t>(BPF_OP(it.code), to, from, &is_known);
    } else {
      to = compute<uint32_t>(BPF_OP(it.code), static_cast<uint32_t>(to),
                             static_cast<uint32_t>(from), &is_known);
    }
    if (!is_known) give_up("arithmetic that is not known here");
  }

  // This machine is little-endian, as its programs are.
  void swap(const bpf_insn& it, uint64_t& to) {
    const bool is_swapped = BPF_SRC(it.code) == BPF_TO_BE;
    if (it.imm == 16) to = is_swapped ? __builtin_bswap16(static_cast<uint16_t>(to)) : to & 0xffff;
    if (it.imm == 32) to = is_swapped ? __builtin_bswap32(static_cast<uint32_t>(to)) : to & ~0u;
    if (it.imm == 64 && is_swapped) to = __builtin_bswap64(to);
  }

  void jump(const bpf_insn& it) {
    if (it.code == (BPF_JMP | BPF_CALL)) return call(it);
    if (it.code == (BPF_JMP | BPF_EXIT)) return leave();
    const uint64_t left = regs_[it.dst_reg];
    const uint64_t right = BPF_SRC(it.code) == BPF_X ? regs_[it.src_reg] : number(it);
    bool is_known = true;
    const bool is_taken = BPF_CLASS(it.code) == BPF_JMP
                              ? compare<uint64_t>(BPF_OP(it.code), left, right, &is_known)
                              : compare<uint32_t>(BPF_OP(it.code), static_cast<uint32_t>(left),
                                                  static_cast<uint32_t>(right), &is_known);
    if (!is_known) give_up("a jump that is not known here");
    if (is_taken) at_ = static_cast<size_t>(static_cast<int64_t>(at_) + it.off);
  }

  void load_constant(const bpf_insn& it) {
    if (it.code != (BPF_LD | BPF_IMM | BPF_DW)) give_up("a load that is not known here");
    const bpf_insn& next = program_->code.at(at_++);
    const auto low = static_cast<uint32_t>(it.imm), high = static_cast<uint32_t>(next.imm);
    if (it.src_reg == 0) {
      regs_[it.dst_reg] = uint64_t{high} << 32 | low;
      return;
    }
    BpfMap* map = machine_.maps_.at(low).get();
    const uint32_t key = 0;
    regs_[it.dst_reg] = it.src_reg == BPF_PSEUDO_MAP_VALUE
                            ? address_of(map->find_or_add(&key)) + high
                            : address_of(map);
  }

  uint64_t load(uint64_t address, uint32_t bytes) {
    uint64_t value = 0;
    // A load through a kernel pointer that leads nowhere gives 0.
    if (machine_.is_readable(address, bytes)) {
      std::memcpy(&value, reinterpret_cast<const void*>(address), bytes);
    }
    return value;
  }

  void store(uint64_t address, uint32_t bytes, uint64_t value) {
    if (!machine_.is_writable(address, bytes)) give_up("writes where no map and no stack is");
    std::memcpy(reinterpret_cast<void*>(address), &value, bytes);
  }

  void change_at_once(const bpf_insn& it) {
    const uint64_t address = regs_[it.dst_reg] + offset(it);
    const uint32_t bytes = size_of(it);
    const uint64_t before = load(address, bytes);
    uint64_t& operand = regs_[it.src_reg];
    if (it.imm == BPF_CMPXCHG) {
      if (before == regs_[0]) store(address, bytes, operand);
      regs_[0] = before;
      return;
    }
    bool is_known = true;
    const int op = it.imm & ~BPF_FETCH;
    const uint64_t after = it.imm == BPF_XCHG ? operand : compute(op, before, operand, &is_known);
    if (!is_known) give_up("an atomic operation that is not known here");
    store(address, bytes, after);
    if (it.imm & BPF_FETCH) operand = before;
  }

  void call(const bpf_insn& it) {
    if (it.src_reg == BPF_PSEUDO_CALL) return enter_function(it);
    if (it.src_reg == 0 && it.imm == BPF_FUNC_tail_call) return tail_call();
    const bool is_kernel_function = it.src_reg == BPF_PSEUDO_KFUNC_CALL;
    if (!is_kernel_function && it.src_reg != 0) give_up("a call that is not known here");
    const std::string name = is_kernel_function
                                 ? program_->kernel_functions.at(static_cast<size_t>(it.imm))
                                 : helper_name(it.imm);
    const BpfHelper function =
        is_kernel_function ? find_kernel_function(name) : find_helper(it.imm);
    if (!function) {
      give_up((is_kernel_function ? "kernel function " : "helper ") + std::to_string(it.imm) +
              " (" + name + ") is not known here; see bpf_helpers.cpp");
    }
    if (!is_kernel_function) counts_.helpers[name + kind_of_map(name)]++;
    regs_[0] = function(machine_, &regs_[1]);
  }

  // A lookup in an array is a few instructions more to the kernel, one in a hash a call.
  std::string kind_of_map(const std::string& name) const {
    if (name.rfind("map_", 0) != 0) return "";
    return reinterpret_cast<const BpfMap*>(regs_[1])->is_array() ? ", array" : ", hash";
  }

  // (context, map, index); goes on behind the call where there is no such program.
  void tail_call() {
    const auto* map = reinterpret_cast<const BpfMap*>(regs_[2]);
    const auto next = machine_.chained_.find({map, static_cast<uint32_t>(regs_[3])});
    if (next == machine_.chained_.end() || counts_.tail_calls == kTailCallsMax) return;
    counts_.tail_calls++;
    enter(*next->second);
  }

  struct Caller {
    const test::ModelProgram* program;
    size_t at;
    uint64_t regs[5];
  };

  BpfMachine& machine_;
  const test::ModelProgram* program_;
  uint64_t context_;
  std::vector<Caller> callers_;
  size_t at_ = 0;
  bool has_ended_ = false;
  uint64_t regs_[11] = {};
  BpfCounts counts_;
};

BpfCounts BpfMachine::run(std::string_view name, const std::vector<uint64_t>& words) {
  add_memory(words.data(), words.size() * sizeof(uint64_t));
  std::memset(stack_, 0, sizeof stack_);
  BpfCounts counts = BpfRun(*this, program(name), address_of(words.data())).run();
  if (!reserved_.empty()) throw std::runtime_error(std::string(name) + " leaves a record open");
  memory_.erase(address_of(words.data()));
  return counts;
}

}  // namespace ebpf::bench

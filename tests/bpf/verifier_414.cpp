// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/verifier_414.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

namespace ebpf::test {
namespace {

constexpr int kRegisters = 11;
constexpr int kFrame = 10;
constexpr int kStackBytes = 512;
constexpr int64_t kOffsetMax = 1 << 29;
constexpr size_t kPendingMax = 1024;
constexpr int64_t kMin = INT64_MIN;
constexpr int64_t kMax = INT64_MAX;

// A number of which some bits are known: those that `mask` does not have.
struct Bits {
  uint64_t value = 0;
  uint64_t mask = ~0ull;
  bool known() const { return mask == 0; }
  bool operator==(const Bits&) const = default;
};

Bits known(uint64_t value) { return {value, 0}; }
Bits add(Bits a, Bits b) {
  const uint64_t sum = a.value + b.value;
  const uint64_t unknown = ((sum + a.mask + b.mask) ^ sum) | a.mask | b.mask;
  return {sum & ~unknown, unknown};
}
Bits subtract(Bits a, Bits b) {
  const uint64_t difference = a.value - b.value;
  const uint64_t unknown = ((difference + a.mask) ^ (difference - b.mask)) | a.mask | b.mask;
  return {difference & ~unknown, unknown};
}
Bits both(Bits a, Bits b) {
  const uint64_t value = a.value & b.value;
  return {value, (a.value | a.mask) & (b.value | b.mask) & ~value};
}
Bits either(Bits a, Bits b) {
  const uint64_t value = a.value | b.value;
  return {value, (a.mask | b.mask) & ~value};
}
Bits intersect(Bits a, Bits b) {
  const uint64_t mask = a.mask & b.mask;
  return {(a.value | b.value) & ~mask, mask};
}
Bits between(uint64_t low, uint64_t high) {
  const uint64_t differing = low ^ high;
  if (differing == 0) return known(low);
  const int bits = 64 - __builtin_clzll(differing);
  if (bits > 63) return {};
  const uint64_t mask = (1ull << bits) - 1;
  return {low & ~mask, mask};
}
bool covers(Bits old, Bits now) {
  return (now.mask & ~old.mask) == 0 && old.value == (now.value & ~old.mask);
}
// The kernel's own shift-and-add; only its result for two known numbers matters here.
Bits multiply(Bits a, Bits b) {
  if (a.known() && b.known()) return known(a.value * b.value);
  return {};
}

enum class Type : uint8_t { kNone, kScalar, kContext, kMap, kValueOrNull, kValue, kStack };

enum Live : uint8_t { kRead = 1, kWritten = 2 };

struct Register {
  Type type = Type::kNone;
  int map = -1;
  int64_t off = 0;
  uint32_t id = 0;
  Bits bits;
  int64_t smin = kMin, smax = kMax;
  uint64_t umin = 0, umax = ~0ull;
  uint8_t live = 0;

  bool is_pointer() const { return type != Type::kScalar; }
  bool same(const Register& o) const {
    return type == o.type && map == o.map && off == o.off && id == o.id && bits == o.bits &&
           smin == o.smin && smax == o.smax && umin == o.umin && umax == o.umax;
  }
  bool holds(const Register& o) const {
    return umin <= o.umin && umax >= o.umax && smin <= o.smin && smax >= o.smax &&
           covers(bits, o.bits);
  }
  void set_unbounded() { smin = kMin, smax = kMax, umin = 0, umax = ~0ull; }
  void set_unknown() {
    type = Type::kScalar;
    map = -1;
    off = 0;
    id = 0;
    bits = {};
    set_unbounded();
  }
  void set_value(uint64_t number) {
    id = 0;
    bits = known(number);
    smin = smax = static_cast<int64_t>(number);
    umin = umax = number;
  }
  void bounds_from_bits() {
    smin = std::max(smin, static_cast<int64_t>(bits.value | (bits.mask & (1ull << 63))));
    smax = std::min(smax, static_cast<int64_t>(bits.value | (bits.mask & ~(1ull << 63))));
    umin = std::max(umin, bits.value);
    umax = std::min(umax, bits.value | bits.mask);
  }
  void deduce_bounds() {
    if (smin >= 0 || smax < 0) {
      umin = std::max(static_cast<uint64_t>(smin), umin);
      smin = static_cast<int64_t>(umin);
      umax = std::min(static_cast<uint64_t>(smax), umax);
      smax = static_cast<int64_t>(umax);
    } else if (static_cast<int64_t>(umax) >= 0) {
      smin = static_cast<int64_t>(umin);
      umax = std::min(static_cast<uint64_t>(smax), umax);
      smax = static_cast<int64_t>(umax);
    } else if (static_cast<int64_t>(umin) < 0) {
      umin = std::max(static_cast<uint64_t>(smin), umin);
      smin = static_cast<int64_t>(umin);
      smax = static_cast<int64_t>(umax);
    }
  }
  void bits_from_bounds() { bits = intersect(bits, between(umin, umax)); }
  void settle() {
    bounds_from_bits();
    deduce_bounds();
    bits_from_bounds();
  }
  void settle_after_jump() {
    deduce_bounds();
    bits_from_bounds();
    bounds_from_bits();
  }
  void cut_to(int bytes) {
    const uint64_t mask = (1ull << (8 * bytes)) - 1;
    bits = {bits.value & mask, bits.mask & mask};
    if ((umin & ~mask) == (umax & ~mask)) {
      umin &= mask;
      umax &= mask;
    } else {
      umin = 0;
      umax = mask;
    }
    smin = static_cast<int64_t>(umin);
    smax = static_cast<int64_t>(umax);
  }
};

enum class Slot : uint8_t { kInvalid, kSpill, kMisc };

struct StackSlot {
  std::array<Slot, 8> bytes{};
  Register spilled;
};

struct State {
  std::array<Register, kRegisters> regs;
  std::vector<StackSlot> stack;  // index 0: the eight bytes below the frame pointer
  State* parent = nullptr;
};

enum class Argument : uint8_t {
  kNone,
  kAny,
  kContext,
  kMap,
  kKey,
  kValue,
  kMemory,
  kBuffer,
  kSize
};
enum class Returns : uint8_t { kNumber, kNothing, kMapValue };

struct Helper {
  std::array<Argument, 5> arguments;
  Returns returns;
};

const Helper* find_helper(int id) {
  using A = Argument;
  static const Helper kNumber = {{}, Returns::kNumber};
  static const std::map<int, Helper> kHelpers = {
      {BPF_FUNC_map_lookup_elem, {{A::kMap, A::kKey}, Returns::kMapValue}},
      {BPF_FUNC_map_update_elem, {{A::kMap, A::kKey, A::kValue, A::kAny}, Returns::kNumber}},
      {BPF_FUNC_map_delete_elem, {{A::kMap, A::kKey}, Returns::kNumber}},
      {BPF_FUNC_probe_read, {{A::kBuffer, A::kSize, A::kAny}, Returns::kNumber}},
      // libbpf turns these two into the one above.
      {BPF_FUNC_probe_read_user, {{A::kBuffer, A::kSize, A::kAny}, Returns::kNumber}},
      {BPF_FUNC_probe_read_kernel, {{A::kBuffer, A::kSize, A::kAny}, Returns::kNumber}},
      {BPF_FUNC_get_current_comm, {{A::kBuffer, A::kSize}, Returns::kNumber}},
      {BPF_FUNC_tail_call, {{A::kContext, A::kMap, A::kAny}, Returns::kNothing}},
      {BPF_FUNC_perf_event_output,
       {{A::kContext, A::kMap, A::kAny, A::kMemory, A::kSize}, Returns::kNumber}},
      {BPF_FUNC_ktime_get_ns, kNumber},
      {BPF_FUNC_get_smp_processor_id, kNumber},
      {BPF_FUNC_get_current_pid_tgid, kNumber},
      {BPF_FUNC_get_current_uid_gid, kNumber},
      {BPF_FUNC_get_current_task, kNumber},
      {BPF_FUNC_get_prandom_u32, kNumber},
  };
  const auto found = kHelpers.find(id);
  return found == kHelpers.end() ? nullptr : &found->second;
}

struct Refused {
  std::string why;
};

class Verifier {
 public:
  explicit Verifier(const ModelProgram& program)
      : program_(program), code_(program.code), explored_(code_.size()), marked_(code_.size()) {}

  Verdict run();

 private:
  struct Pending {
    size_t at;
    State state;
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw Refused{"instruction " + std::to_string(at_) + ": " + why};
  }
  Register& reg(int number) { return now_.regs[static_cast<size_t>(number)]; }
  std::string name(int number) const { return "R" + std::to_string(number); }

  void check_graph();
  bool is_visited();
  bool is_covered(State& old, State& now) const;
  bool is_covered(const Register& old, const Register& now,
                  std::map<uint32_t, uint32_t>& ids) const;
  static void propagate(State* from, State* to);
  void walk();
  bool pop();
  void step(const bpf_insn& it);

  void read(int number);
  void write(int number, bool forget);
  void read_slot(size_t slot);

  void alu(const bpf_insn& it);
  void scalar_alu(const bpf_insn& it, Register& to, Register by);
  void pointer_alu(const bpf_insn& it, Register& to, Register pointer, const Register& by);
  void sane_offset(const Register& by) const;
  void jump(const bpf_insn& it);
  void learn(Register& taken, Register& fallen, uint64_t value, int op, bool inverse);
  void null_checked(State& state, uint32_t id, bool is_null);
  void call(int id);
  void memory(int pointer, int64_t off, int bytes, bool is_write, int value, bool strict);
  void map_range(const Register& pointer, int64_t off, int64_t bytes);
  void stack_write(int64_t off, int bytes, int value);
  void stack_read(int64_t off, int bytes, int value);
  void helper_memory(int number, int64_t bytes, bool is_raw);
  void context(int64_t off, int bytes, bool is_write) const;

  const ModelProgram& program_;
  const std::vector<bpf_insn>& code_;
  std::vector<std::vector<std::unique_ptr<State>>> explored_;
  std::vector<char> marked_;
  std::vector<Pending> pending_;
  State now_;
  size_t at_ = 0;
  uint32_t ids_ = 0;
  Verdict verdict_;
};

int op_of(const bpf_insn& it) { return BPF_OP(it.code); }
bool is_register_source(const bpf_insn& it) { return BPF_SRC(it.code) == BPF_X; }

// Back edges, jumps out of the program, what cannot be reached; and where states are kept.
void Verifier::check_graph() {
  enum Mark : char { kNew, kOnPath, kDone };
  std::vector<char> marks(code_.size(), kNew), edges(code_.size(), 0);
  std::vector<size_t> path = {0};
  marks[0] = kOnPath;
  while (!path.empty()) {
    const size_t from = at_ = path.back();
    const bpf_insn& it = code_[from];
    const bool jumps = BPF_CLASS(it.code) == BPF_JMP;
    std::vector<size_t> targets;
    if (jumps && op_of(it) == BPF_EXIT) {
    } else if (jumps && op_of(it) == BPF_JA) {
      targets = {from + 1 + static_cast<size_t>(it.off)};
      if (from + 1 < code_.size()) marked_[from + 1] = 1;
    } else if (jumps && op_of(it) != BPF_CALL) {
      targets = {from + 1, from + 1 + static_cast<size_t>(it.off)};
      marked_[from] = 1;
    } else {
      targets = {from + 1};
      if (jumps && from + 1 < code_.size()) marked_[from + 1] = 1;
    }
    if (static_cast<size_t>(edges[from]) == targets.size()) {
      marks[from] = kDone;
      path.pop_back();
      continue;
    }
    const size_t edge = static_cast<size_t>(edges[from]++);
    const size_t to = targets[edge];
    if (to >= code_.size()) refuse("jump out of range");
    if (edge == 1) marked_[to] = 1;
    if (marks[to] == kOnPath) refuse("back-edge to " + std::to_string(to));
    if (marks[to] == kNew) {
      marks[to] = kOnPath;
      path.push_back(to);
    }
  }
  for (at_ = 0; at_ < code_.size(); at_++)
    if (marks[at_] != kDone) refuse("unreachable");
}

bool Verifier::is_covered(const Register& old, const Register& now,
                          std::map<uint32_t, uint32_t>& ids) const {
  if (!(old.live & kRead) || old.same(now) || old.type == Type::kNone) return true;
  switch (old.type) {
    case Type::kScalar:
      return now.type == Type::kScalar && old.holds(now);
    case Type::kValue:
      return now.type == Type::kValue && old.map == now.map && old.off == now.off && old.holds(now);
    case Type::kValueOrNull:
      if (now.type != old.type || old.map != now.map || old.off != now.off) return false;
      return ids.emplace(old.id, now.id).first->second == now.id;
    default:
      return false;
  }
}

bool Verifier::is_covered(State& old, State& now) const {
  std::map<uint32_t, uint32_t> ids;
  for (size_t i = 0; i < kRegisters; i++)
    if (!is_covered(old.regs[i], now.regs[i], ids)) return false;
  if (old.stack.size() > now.stack.size()) return false;
  for (size_t i = 0; i < old.stack.size(); i++) {
    for (size_t byte = 0; byte < 8; byte++) {
      const Slot kept = old.stack[i].bytes[byte];
      if (kept != Slot::kInvalid && kept != now.stack[i].bytes[byte]) return false;
    }
    if (old.stack[i].bytes[0] == Slot::kSpill &&
        !is_covered(old.stack[i].spilled, now.stack[i].spilled, ids))
      return false;
  }
  return true;
}

// What the continuation of `from` reads is read by `to`, too.
void Verifier::propagate(State* from, State* to) {
  for (bool changed = true; changed && to; from = to, to = from->parent) {
    changed = false;
    const bool screened = from->parent == to;
    const auto one = [&](const Register& child, Register& parent) {
      if ((parent.live & kRead) || (screened && (child.live & kWritten))) return;
      if (child.live & kRead) parent.live |= kRead, changed = true;
    };
    for (size_t i = 0; i < kFrame; i++) one(from->regs[i], to->regs[i]);
    for (size_t i = 0; i < std::min(from->stack.size(), to->stack.size()); i++)
      if (from->stack[i].bytes[0] == Slot::kSpill && to->stack[i].bytes[0] == Slot::kSpill)
        one(from->stack[i].spilled, to->stack[i].spilled);
  }
}

bool Verifier::is_visited() {
  if (!marked_[at_]) return false;
  auto& states = explored_[at_];
  for (auto state = states.rbegin(); state != states.rend(); ++state) {
    if (!is_covered(**state, now_)) continue;
    propagate(state->get(), &now_);
    return true;
  }
  states.push_back(std::make_unique<State>(now_));
  now_.parent = states.back().get();
  for (size_t i = 0; i < kFrame; i++) now_.regs[i].live = 0;
  for (StackSlot& slot : now_.stack)
    if (slot.bytes[0] == Slot::kSpill) slot.spilled.live = 0;
  return false;
}

void Verifier::read(int number) {
  if (reg(number).type == Type::kNone) refuse(name(number) + " !read_ok");
  if (number == kFrame) return;
  const size_t i = static_cast<size_t>(number);
  for (State* state = &now_; state->parent; state = state->parent) {
    if (state->regs[i].live & kWritten) break;
    state->parent->regs[i].live |= kRead;
  }
}

void Verifier::write(int number, bool forget) {
  if (number == kFrame) refuse("frame pointer is read only");
  reg(number).live |= kWritten;
  if (forget) reg(number).set_unknown();
}

void Verifier::read_slot(size_t slot) {
  for (State* state = &now_; state->parent; state = state->parent) {
    if (state->stack[slot].spilled.live & kWritten) break;
    if (slot >= state->parent->stack.size()) break;
    state->parent->stack[slot].spilled.live |= kRead;
  }
}

// ---- Arithmetic ----

bool adds_over(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_add_overflow(a, b, &result);
}
bool subtracts_over(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_sub_overflow(a, b, &result);
}
int64_t plus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

void add_bounds(Register& to, const Register& a, const Register& b) {
  const Register x = a, y = b;
  const bool signed_over = adds_over(x.smin, y.smin) || adds_over(x.smax, y.smax);
  to.smin = signed_over ? kMin : plus(x.smin, y.smin);
  to.smax = signed_over ? kMax : plus(x.smax, y.smax);
  const bool over = x.umin + y.umin < x.umin || x.umax + y.umax < x.umax;
  to.umin = over ? 0 : x.umin + y.umin;
  to.umax = over ? ~0ull : x.umax + y.umax;
  to.bits = add(x.bits, y.bits);
}

void subtract_bounds(Register& to, const Register& a, const Register& b) {
  const Register x = a, y = b;
  const bool signed_over = subtracts_over(x.smin, y.smax) || subtracts_over(x.smax, y.smin);
  to.smin = signed_over ? kMin : minus(x.smin, y.smax);
  to.smax = signed_over ? kMax : minus(x.smax, y.smin);
  const bool over = x.umin < y.umax;
  to.umin = over ? 0 : x.umin - y.umax;
  to.umax = over ? ~0ull : x.umax - y.umin;
  to.bits = subtract(x.bits, y.bits);
}

void multiply_bounds(Register& to, const Register& by) {
  to.bits = multiply(to.bits, by.bits);
  if (by.smin < 0 || to.smin < 0 || by.umax > UINT32_MAX || to.umax > UINT32_MAX) {
    to.set_unbounded();
    to.bounds_from_bits();
    return;
  }
  to.umin *= by.umin;
  to.umax *= by.umax;
  const bool over = to.umax > static_cast<uint64_t>(kMax);
  to.smin = over ? kMin : static_cast<int64_t>(to.umin);
  to.smax = over ? kMax : static_cast<int64_t>(to.umax);
}

void bitwise_bounds(Register& to, const Register& by, bool is_and) {
  if (to.bits.known() && by.bits.known()) {
    to.set_value(is_and ? to.bits.value & by.bits.value : to.bits.value | by.bits.value);
    return;
  }
  to.bits = is_and ? both(to.bits, by.bits) : either(to.bits, by.bits);
  to.umin = is_and ? to.bits.value : std::max(to.umin, by.umin);
  to.umax = is_and ? std::min(to.umax, by.umax) : to.bits.value | to.bits.mask;
  const bool negative = to.smin < 0 || by.smin < 0;
  to.smin = negative ? kMin : static_cast<int64_t>(to.umin);
  to.smax = negative ? kMax : static_cast<int64_t>(to.umax);
  to.bounds_from_bits();
}

void shift_bounds(Register& to, const Register& by, bool is_left, uint64_t width) {
  if (by.umax >= width) return to.set_unknown();
  const auto count = static_cast<unsigned>(by.umin);
  to.smin = kMin;
  to.smax = kMax;
  if (!is_left) {
    to.bits = {to.bits.value >> count, to.bits.mask >> count};
    to.umin >>= by.umax;
    to.umax >>= count;
  } else {
    const bool over = to.umax > 1ull << (63 - by.umax);
    to.umin = over ? 0 : to.umin << count;
    to.umax = over ? ~0ull : to.umax << by.umax;
    to.bits = {to.bits.value << count, to.bits.mask << count};
  }
  to.bounds_from_bits();
}

bool is_contradiction(const Register& by) {
  return (by.bits.known() && (by.smin != by.smax || by.umin != by.umax)) || by.smin > by.smax ||
         by.umin > by.umax;
}

void Verifier::scalar_alu(const bpf_insn& it, Register& to, Register by) {
  const bool is_wide = BPF_CLASS(it.code) == BPF_ALU64;
  if (!is_wide) {
    to.cut_to(4);
    by.cut_to(4);
  }
  const int op = op_of(it);
  if (is_contradiction(by)) return to.set_unknown();
  if (!by.bits.known() && op != BPF_ADD && op != BPF_SUB && op != BPF_AND) return to.set_unknown();
  switch (op) {
    case BPF_ADD:
      add_bounds(to, to, by);
      break;
    case BPF_SUB:
      subtract_bounds(to, to, by);
      break;
    case BPF_MUL:
      multiply_bounds(to, by);
      break;
    case BPF_AND:
    case BPF_OR:
      bitwise_bounds(to, by, op == BPF_AND);
      break;
    case BPF_LSH:
    case BPF_RSH:
      shift_bounds(to, by, op == BPF_LSH, is_wide ? 64 : 32);
      break;
    default:
      to.set_unknown();
  }
  if (!is_wide) to.cut_to(4);
  to.settle();
}

void Verifier::sane_offset(const Register& by) const {
  const auto value = static_cast<int64_t>(by.bits.value);
  if (by.bits.known() && (value >= kOffsetMax || value <= -kOffsetMax))
    refuse("math between a pointer and " + std::to_string(value));
  if (by.off >= kOffsetMax || by.off <= -kOffsetMax) refuse("pointer offset is too large");
  if (by.smin == kMin) refuse("math between a pointer and a register with unbounded min value");
  if (by.smin >= kOffsetMax || by.smin <= -kOffsetMax) refuse("pointer is out of bounds");
}

void Verifier::pointer_alu(const bpf_insn& it, Register& to, Register pointer,
                           const Register& by_reg) {
  const Register by = by_reg;
  if (is_contradiction(by)) return to.set_unknown();
  if (BPF_CLASS(it.code) != BPF_ALU64) refuse("32-bit pointer arithmetic");
  if (pointer.type == Type::kValueOrNull) refuse("arithmetic on a value that may be null");
  if (pointer.type == Type::kMap) refuse("arithmetic on a map");
  const bool is_sub = op_of(it) == BPF_SUB;
  if (!is_sub && op_of(it) != BPF_ADD) refuse("operator that pointers do not have");
  if (is_sub && pointer.type == Type::kStack) refuse("subtraction from stack pointer");
  sane_offset(by);
  sane_offset(pointer);
  const uint8_t live = to.live;
  to = pointer;
  to.live = live;
  const int64_t fixed = is_sub ? pointer.off - by.smin : pointer.off + by.smin;
  if (by.bits.known() && fixed == static_cast<int32_t>(fixed)) {
    to.off = fixed;
  } else {
    is_sub ? subtract_bounds(to, pointer, by) : add_bounds(to, pointer, by);
  }
  sane_offset(to);
  to.settle();
}

void Verifier::alu(const bpf_insn& it) {
  const int op = op_of(it);
  const int to = it.dst_reg;
  const bool is_wide = BPF_CLASS(it.code) == BPF_ALU64;
  if (op == BPF_MOV) {
    if (is_register_source(it)) read(it.src_reg);
    write(to, true);
    if (!is_register_source(it)) {
      reg(to).set_value(is_wide ? static_cast<uint64_t>(static_cast<int64_t>(it.imm))
                                : static_cast<uint32_t>(it.imm));
    } else if (is_wide) {
      reg(to) = reg(it.src_reg);
      reg(to).live |= kWritten;
    } else {
      reg(to).cut_to(4);
    }
    return;
  }
  if (op == BPF_END || op == BPF_NEG) {
    read(to);
    write(to, true);
    return;
  }
  if (is_register_source(it)) read(it.src_reg);
  read(to);
  if ((op == BPF_DIV || op == BPF_MOD) && !is_register_source(it) && it.imm == 0)
    refuse("div by zero");
  if (op == BPF_ARSH && !is_wide) refuse("BPF_ARSH not supported for 32 bit ALU");
  const bool shifts = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
  if (shifts && !is_register_source(it) && (it.imm < 0 || it.imm >= (is_wide ? 64 : 32)))
    refuse("invalid shift");
  write(to, false);
  Register by;
  if (is_register_source(it)) {
    by = reg(it.src_reg);
  } else {
    by.type = Type::kScalar;
    by.set_value(static_cast<uint64_t>(static_cast<int64_t>(it.imm)));
  }
  if (by.is_pointer() && reg(to).is_pointer()) {
    if (op != BPF_SUB) refuse("math between two pointers");
    return reg(to).set_unknown();
  }
  if (by.is_pointer()) {
    if (op == BPF_SUB) refuse("subtracts a pointer from a number");
    return pointer_alu(it, reg(to), by, Register(reg(to)));
  }
  if (reg(to).is_pointer()) return pointer_alu(it, reg(to), reg(to), by);
  scalar_alu(it, reg(to), by);
}

// ---- Jumps ----

void Verifier::null_checked(State& state, uint32_t id, bool is_null) {
  const auto settle = [&](Register& one) {
    if (one.type != Type::kValueOrNull || one.id != id) return;
    one.type = is_null ? Type::kScalar : Type::kValue;
    one.id = 0;
  };
  for (Register& one : state.regs) settle(one);
  for (StackSlot& slot : state.stack)
    if (slot.bytes[0] == Slot::kSpill) settle(slot.spilled);
}

// `inverse`: the constant stands on the left.
void Verifier::learn(Register& taken, Register& fallen, uint64_t value, int op, bool inverse) {
  if (fallen.type != Type::kScalar) return;
  const auto below = [](Register& r, uint64_t most) { r.umax = std::min(r.umax, most); };
  const auto above = [](Register& r, uint64_t least) { r.umin = std::max(r.umin, least); };
  const auto sbelow = [](Register& r, uint64_t most) {
    r.smax = std::min(r.smax, static_cast<int64_t>(most));
  };
  const auto sabove = [](Register& r, uint64_t least) {
    r.smin = std::max(r.smin, static_cast<int64_t>(least));
  };
  switch (op) {
    case BPF_JEQ:
      taken.set_value(value);
      break;
    case BPF_JNE:
      fallen.set_value(value);
      break;
    case BPF_JGT:
      inverse ? (below(taken, value - 1), above(fallen, value))
              : (above(taken, value + 1), below(fallen, value));
      break;
    case BPF_JSGT:
      inverse ? (sbelow(taken, value - 1), sabove(fallen, value))
              : (sabove(taken, value + 1), sbelow(fallen, value));
      break;
    case BPF_JGE:
      inverse ? (below(taken, value), above(fallen, value + 1))
              : (above(taken, value), below(fallen, value - 1));
      break;
    case BPF_JSGE:
      inverse ? (sbelow(taken, value), sabove(fallen, value + 1))
              : (sabove(taken, value), sbelow(fallen, value - 1));
      break;
    default:
      break;
  }
  fallen.settle_after_jump();
  taken.settle_after_jump();
}

void Verifier::jump(const bpf_insn& it) {
  const int op = op_of(it);
  const int left = it.dst_reg;
  const bool by_register = is_register_source(it);
  const auto imm = static_cast<uint64_t>(static_cast<int64_t>(it.imm));
  if (op > BPF_JSGE) refuse("jump that v1 does not have");
  if (by_register) read(it.src_reg);
  read(left);
  const bool equality = op == BPF_JEQ || op == BPF_JNE;
  if (!by_register && equality && reg(left).type == Type::kScalar && reg(left).bits.known() &&
      reg(left).bits.value == imm) {
    if (op == BPF_JEQ) at_ += static_cast<size_t>(it.off);
    return;
  }
  const size_t target = at_ + 1 + static_cast<size_t>(it.off);
  pending_.push_back({target, now_});
  if (pending_.size() > kPendingMax) refuse("BPF program is too complex");
  State& other = pending_.back().state;
  const size_t l = static_cast<size_t>(left), r = it.src_reg;
  if (!by_register) {
    if (reg(left).type == Type::kScalar) learn(other.regs[l], reg(left), imm, op, false);
  } else if (reg(left).type == Type::kScalar && now_.regs[r].type == Type::kScalar) {
    if (now_.regs[r].bits.known()) {
      learn(other.regs[l], reg(left), now_.regs[r].bits.value, op, false);
    } else if (reg(left).bits.known()) {
      learn(other.regs[r], now_.regs[r], reg(left).bits.value, op, true);
    } else if (equality) {
      State& equal = op == BPF_JEQ ? other : now_;
      Register &a = equal.regs[l], &b = equal.regs[r];
      a.umin = b.umin = std::max(a.umin, b.umin);
      a.umax = b.umax = std::min(a.umax, b.umax);
      a.smin = b.smin = std::max(a.smin, b.smin);
      a.smax = b.smax = std::min(a.smax, b.smax);
      a.bits = b.bits = intersect(a.bits, b.bits);
      for (Register* one : {&a, &b}) {
        one->settle();
        one->bounds_from_bits();
      }
    }
  }
  if (!by_register && it.imm == 0 && equality && reg(left).type == Type::kValueOrNull) {
    const uint32_t id = reg(left).id;
    null_checked(now_, id, op == BPF_JNE);
    null_checked(other, id, op == BPF_JEQ);
  }
}

// ---- Memory ----

void Verifier::context(int64_t off, int bytes, bool is_write) const {
  if (is_write) refuse("writes to the context");
  if (off % bytes != 0) refuse("misaligned context access");
  const bool is_tracepoint = program_.section.rfind("tracepoint", 0) == 0;
  const int64_t first = is_tracepoint ? 8 : 0;  // the kernel's own
  const int64_t end = is_tracepoint ? 2048 : 96;
  if (off < first || off >= end) refuse("invalid bpf_context access off=" + std::to_string(off));
}

void Verifier::map_range(const Register& pointer, int64_t off, int64_t bytes) {
  const ModelMap& map = (*program_.maps)[static_cast<size_t>(pointer.map)];
  const auto inside = [&](int64_t from) {
    return from >= 0 && bytes > 0 && from + bytes <= static_cast<int64_t>(map.value_bytes);
  };
  const std::string where = " of " + map.name + " (" + std::to_string(map.value_bytes) + " bytes)";
  if (pointer.smin < 0 && (pointer.smin == kMin || pointer.smin + off < 0))
    refuse("min value is negative" + where);
  if (!inside(pointer.smin + off)) {
    refuse("min value " + std::to_string(pointer.smin + off) + " +" + std::to_string(bytes) +
           " is outside of the array range" + where);
  }
  if (pointer.umax >= static_cast<uint64_t>(kOffsetMax)) refuse("unbounded memory access" + where);
  if (!inside(static_cast<int64_t>(pointer.umax) + off)) {
    refuse("max value " + std::to_string(static_cast<int64_t>(pointer.umax) + off) + " +" +
           std::to_string(bytes) + " is outside of the array range" + where);
  }
}

void Verifier::stack_write(int64_t off, int bytes, int value) {
  const auto byte = static_cast<size_t>(-off - 1);
  const size_t slot = byte / 8;
  if (now_.stack.size() <= slot) now_.stack.resize(slot + 1);
  StackSlot& to = now_.stack[slot];
  if (value >= 0 && reg(value).is_pointer()) {
    if (bytes != 8) refuse("invalid size of register spill");
    to.spilled = reg(value);
    to.spilled.live |= kWritten;
    to.bytes.fill(Slot::kSpill);
    return;
  }
  to.spilled = {};
  for (size_t i = 0; i < static_cast<size_t>(bytes); i++) to.bytes[(byte - i) % 8] = Slot::kMisc;
}

void Verifier::stack_read(int64_t off, int bytes, int value) {
  const auto byte = static_cast<size_t>(-off - 1);
  const size_t slot = byte / 8;
  const std::string where = "invalid read from stack off " + std::to_string(off);
  if (now_.stack.size() <= slot) refuse(where);
  const StackSlot& from = now_.stack[slot];
  if (from.bytes[0] == Slot::kSpill) {
    if (bytes != 8) refuse("invalid size of register spill");
    for (const Slot one : from.bytes)
      if (one != Slot::kSpill) refuse("corrupted spill memory");
    if (value >= 0) {
      reg(value) = from.spilled;
      read_slot(slot);
    }
    return;
  }
  for (size_t i = 0; i < static_cast<size_t>(bytes); i++)
    if (from.bytes[(byte - i) % 8] != Slot::kMisc) refuse(where);
  if (value >= 0) reg(value).set_unknown();
}

void Verifier::memory(int pointer, int64_t off, int bytes, bool is_write, int value, bool strict) {
  const Register base = reg(pointer);
  const bool reads_into = !is_write && value >= 0;
  if (bytes > 1 && (strict || base.type == Type::kStack)) {
    const Bits at = add(base.bits, known(static_cast<uint64_t>(base.off + off)));
    if ((at.value | at.mask) & static_cast<uint64_t>(bytes - 1)) refuse("misaligned access");
  }
  off += base.off;
  if (base.type == Type::kValue) {
    map_range(base, off, bytes);
    if (reads_into) reg(value).set_unknown();
  } else if (base.type == Type::kContext) {
    if (base.off != 0 || !base.bits.known() || base.bits.value != 0)
      refuse("dereference of modified ctx");
    context(off, bytes, is_write);
    if (reads_into) reg(value).set_unknown();
  } else if (base.type == Type::kStack) {
    if (!base.bits.known()) refuse("variable stack access");
    off += static_cast<int64_t>(base.bits.value);
    if (off >= 0 || off < -kStackBytes) refuse("invalid stack off=" + std::to_string(off));
    verdict_.stack_bytes = std::max(verdict_.stack_bytes, static_cast<uint32_t>(-off));
    is_write ? stack_write(off, bytes, value) : stack_read(off, bytes, value);
  } else {
    refuse(name(pointer) + " invalid mem access");
  }
  if (reads_into && bytes < 8 && reg(value).type == Type::kScalar) reg(value).cut_to(bytes);
}

void Verifier::helper_memory(int number, int64_t bytes, bool is_raw) {
  const Register& base = reg(number);
  if (base.type == Type::kValue) return map_range(base, base.off, bytes);
  if (base.type != Type::kStack) refuse(name(number) + " expected a stack pointer");
  if (!base.bits.known()) refuse("invalid variable stack read");
  const int64_t off = base.off + static_cast<int64_t>(base.bits.value);
  if (off >= 0 || off < -kStackBytes || off + bytes > 0 || bytes <= 0)
    refuse("invalid stack " + name(number) + " off=" + std::to_string(off) +
           " access_size=" + std::to_string(bytes));
  verdict_.stack_bytes = std::max(verdict_.stack_bytes, static_cast<uint32_t>(-off));
  if (is_raw) return;
  for (int64_t i = 0; i < bytes; i++) {
    const auto byte = static_cast<size_t>(-(off + i) - 1);
    if (now_.stack.size() <= byte / 8 || now_.stack[byte / 8].bytes[byte % 8] != Slot::kMisc)
      refuse("invalid indirect read from stack off " + std::to_string(off) + "+" +
             std::to_string(i) + " size " + std::to_string(bytes));
  }
}

void Verifier::call(int id) {
  const Helper* helper = find_helper(id);
  if (!helper) refuse("unknown func #" + std::to_string(id));
  const ModelMap* map = nullptr;
  int map_index = -1;
  int raw = 0;  // register that points to memory which the helper fills
  int64_t raw_bytes = 0;
  for (int number = 1; number <= 5; number++) {
    const Argument wanted = helper->arguments[static_cast<size_t>(number) - 1];
    if (wanted == Argument::kNone) continue;
    read(number);
    const Register& given = reg(number);
    const auto expect = [&](bool is_right, const char* what) {
      if (!is_right) refuse(name(number) + " of helper " + std::to_string(id) + " must be " + what);
    };
    switch (wanted) {
      case Argument::kMap:
        expect(given.type == Type::kMap, "a map");
        map_index = given.map;
        map = &(*program_.maps)[static_cast<size_t>(map_index)];
        break;
      case Argument::kContext:
        expect(given.type == Type::kContext && given.off == 0, "the context");
        break;
      case Argument::kKey:
      case Argument::kValue:
        expect(given.type == Type::kStack, "on the stack");
        helper_memory(number, wanted == Argument::kKey ? map->key_bytes : map->value_bytes, false);
        break;
      case Argument::kMemory:
      case Argument::kBuffer:
        expect(given.type == Type::kStack || given.type == Type::kValue,
               "on the stack or in a map's value");
        raw = wanted == Argument::kBuffer ? number : 0;
        break;
      case Argument::kSize: {
        expect(given.type == Type::kScalar, "a number");
        const bool is_raw = raw != 0 && given.bits.known();
        if (given.smin < 0) refuse(name(number) + " min value is negative");
        if (given.umin == 0) helper_memory(number - 1, 0, is_raw);
        if (given.umax >= static_cast<uint64_t>(kOffsetMax))
          refuse(name(number) + " unbounded memory access");
        helper_memory(number - 1, static_cast<int64_t>(given.umax), is_raw);
        if (is_raw) raw_bytes = static_cast<int64_t>(given.umax);
        break;
      }
      default:
        break;
    }
  }
  if (raw != 0 && reg(raw).type == Type::kStack)
    for (int64_t i = 0; i < raw_bytes; i++) memory(raw, i, 1, true, -1, false);
  const bool wants_programs = id == BPF_FUNC_tail_call,
             wants_events = id == BPF_FUNC_perf_event_output;
  if (map && ((map->type == BPF_MAP_TYPE_PROG_ARRAY) != wants_programs ||
              (map->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) != wants_events))
    refuse("cannot pass " + map->name + " into helper " + std::to_string(id));
  for (int number = 0; number <= 5; number++) {
    reg(number).set_unknown();
    reg(number).type = Type::kNone;
    reg(number).live |= kWritten;
  }
  if (helper->returns == Returns::kNothing) return;
  reg(0).type = Type::kScalar;
  if (helper->returns == Returns::kMapValue) {
    reg(0).set_value(0);
    reg(0).type = Type::kValueOrNull;
    reg(0).map = map_index;
    reg(0).id = ++ids_;
  }
}

int bytes_of(const bpf_insn& it) {
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

void Verifier::step(const bpf_insn& it) {
  switch (BPF_CLASS(it.code)) {
    case BPF_ALU:
    case BPF_ALU64:
      alu(it);
      break;
    case BPF_LDX:
      read(it.src_reg);
      write(it.dst_reg, false);
      memory(it.src_reg, it.off, bytes_of(it), false, it.dst_reg, false);
      break;
    case BPF_STX: {
      read(it.src_reg);
      read(it.dst_reg);
      const bool is_add = BPF_MODE(it.code) != BPF_MEM;
      if (is_add && (it.imm != BPF_ADD || bytes_of(it) < 4))
        refuse("BPF_XADD uses reserved fields");
      if (is_add && reg(it.dst_reg).type == Type::kContext) refuse("BPF_XADD stores into context");
      if (is_add) memory(it.dst_reg, it.off, bytes_of(it), false, -1, true);
      memory(it.dst_reg, it.off, bytes_of(it), true, is_add ? -1 : it.src_reg, is_add);
      break;
    }
    case BPF_ST:
      read(it.dst_reg);
      memory(it.dst_reg, it.off, bytes_of(it), true, -1, false);
      break;
    case BPF_LD: {
      if (it.code != (BPF_LD | BPF_IMM | BPF_DW)) refuse("invalid BPF_LD mode");
      write(it.dst_reg, true);
      Register& to = reg(it.dst_reg);
      if (it.src_reg == BPF_PSEUDO_MAP_FD) {
        to.type = Type::kMap;
        to.map = it.imm;
      } else {
        to.set_value(static_cast<uint64_t>(static_cast<uint32_t>(code_[at_ + 1].imm)) << 32 |
                     static_cast<uint32_t>(it.imm));
      }
      at_++;
      break;
    }
    case BPF_JMP:
      if (op_of(it) == BPF_CALL) {
        if (it.src_reg != 0) refuse("call of a BPF function");
        call(it.imm);
      } else if (op_of(it) == BPF_JA) {
        at_ += static_cast<size_t>(it.off);
      } else {
        jump(it);
      }
      break;
    default:
      refuse("unknown insn class");
  }
}

bool Verifier::pop() {
  if (pending_.empty()) return false;
  now_ = std::move(pending_.back().state);
  at_ = pending_.back().at;
  pending_.pop_back();
  return true;
}

void Verifier::walk() {
  for (;;) {
    if (++verdict_.processed > kProcessedMax) refuse("BPF program is too large");
    const bpf_insn& it = code_[at_];
    const bool is_exit = BPF_CLASS(it.code) == BPF_JMP && op_of(it) == BPF_EXIT;
    const bool visited = is_visited();
    if (!visited && is_exit) read(0);
    if (visited || is_exit) {
      if (!pop()) return;
      continue;
    }
    step(it);
    at_++;
  }
}

Verdict Verifier::run() {
  reg(1).type = Type::kContext;
  reg(1).set_value(0);
  reg(kFrame).type = Type::kStack;
  reg(kFrame).set_value(0);
  try {
    if (code_.empty() || code_.size() > BPF_MAXINSNS) refuse("more than 4096 instructions");
    check_graph();
    at_ = 0;
    walk();
  } catch (const Refused& refused) {
    verdict_.refusal = refused.why;
  }
  return verdict_;
}

}  // namespace

Verdict verify_as_414(const ModelProgram& program) { return Verifier(program).run(); }

}  // namespace ebpf::test

// SPDX-License-Identifier: Apache-2.0
// Runs the inference header natively, as the programs in the kernel run it for one end of a
// connection. Standard input, one call per line:
//
//   END DIRECTION IS_TCP TOTAL HEX     DIRECTION 0 sent, 1 received; HEX: the captured bytes
//   -                                  the next connection
//
// Standard output, one line per record that would be delivered, with the same END:
//
//   END DIRECTION TOTAL PROTOCOL TYPE IS_LIKELY
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "bpf/infer.h"

namespace {

struct Call {
  uint64_t direction = 0;
  uint64_t is_tcp = 0;
  uint64_t total = 0;
  std::string bytes;
};

// One end of a connection: what the maps hold of it, in the kernel.
class End {
 public:
  explicit End(std::string name) : name_(std::move(name)) {}

  void take(Call call) {
    bool joined = false;
    if (entry_holds_) {
      entry_holds_ = false;
      if (call.direction == SOCK_DIR_RCV) {
        join(&call);
        joined = true;
      } else {
        deliver(held_, 0);
        held_ = {};
      }
    }
    if (classify(call, joined)) return;
    if (joined || held_.bytes.empty() || call.direction != SOCK_DIR_RCV) return;
    join(&call);
    classify(call, true);
  }

 private:
  void join(Call* call) {
    call->bytes = held_.bytes + call->bytes;
    call->total += held_.total;
    held_ = {};
  }

  // False: none of the protocols.
  bool classify(const Call& call, bool joined) {
    infer_window window = {};
    std::memcpy(window.bytes, call.bytes.data(), std::min(call.bytes.size(), sizeof(window.bytes)));
    const infer_input input = {
        &window,        std::min<size_t>(call.bytes.size(), INFER_WINDOW_BYTES),
        call.total,     call.is_tcp,
        call.direction, INFER_ALL_PROTOCOLS};
    infer_state state = is_entry_ ? state_ : infer_state{};
    uint64_t result = infer_first(&input, &state);
    if (infer_needs_second(&input, &state, result)) result = infer_second(&input, &state);
    if (!joined && infer_holds(&input, &state)) {
      held_ = call;
      entry_holds_ = is_entry_;
      return true;
    }
    infer_learn(&input, &state, result);
    if (!state.protocol) return false;
    state_ = state;
    is_entry_ = true;
    deliver(call, INFER_MSG_TYPE(result));
    return true;
  }

  void deliver(const Call& call, int type) const {
    std::printf("%s %d %llu %d %d %d\n", name_.c_str(), static_cast<int>(call.direction),
                static_cast<unsigned long long>(call.total), state_.protocol, type,
                state_.is_likely);
  }

  std::string name_;
  infer_state state_ = {};
  bool is_entry_ = false;
  bool entry_holds_ = false;
  Call held_;
};

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

bool parse_hex(const std::string& text, std::string* bytes) {
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = value_of(text[i]);
    const int low = value_of(text[i + 1]);
    if (high < 0 || low < 0) return false;
    *bytes += static_cast<char>(high << 4 | low);
  }
  return true;
}

}  // namespace

int main() {
  std::map<std::string, End> ends;
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); number++) {
    if (line == "-") {
      ends.clear();
      std::puts("-");
      continue;
    }
    std::istringstream words(line);
    std::string name;
    std::string hex;
    Call call;
    if (!(words >> name >> call.direction >> call.is_tcp >> call.total >> hex) ||
        call.direction > 1 || call.is_tcp > 1 || !parse_hex(hex, &call.bytes) ||
        call.bytes.size() > call.total) {
      std::fprintf(stderr, "ebpf-infer: line %zu is not END DIRECTION IS_TCP TOTAL HEX\n", number);
      return 2;
    }
    ends.try_emplace(name, name).first->second.take(std::move(call));
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The inference header, run natively as the programs in the kernel run it for one end of a
// connection, with what their maps hold of it. Standard library only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bpf/infer.h"

namespace infer_native {

struct Call {
  uint64_t direction = 0;
  uint64_t is_tcp = 0;
  uint64_t total = 0;
  std::string bytes;
};

// What is delivered of a call.
struct Record {
  uint64_t direction;
  uint64_t total;
  int protocol;
  int type;
  bool is_likely;
  bool operator==(const Record&) const = default;
};

// One end of a connection: what the maps hold of it, in the kernel.
class End {
 public:
  // The records that are delivered when this call has ended: none, one, or a header that was
  // held, too.
  std::vector<Record> take(Call call) {
    records_.clear();
    classify_call(std::move(call));
    return std::move(records_);
  }

  const infer_state& state() const { return state_; }

 private:
  void classify_call(Call call) {
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
    if (!joined && infer_holds(&input, &state, result)) {
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

  void deliver(const Call& call, int type) {
    records_.push_back({call.direction, call.total, state_.protocol, type, state_.is_likely != 0});
  }

  std::vector<Record> records_;
  infer_state state_ = {};
  bool is_entry_ = false;
  bool entry_holds_ = false;
  Call held_;
};

}  // namespace infer_native

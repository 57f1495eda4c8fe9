// SPDX-License-Identifier: Apache-2.0
// What the users on the control socket may cost: token buckets for each of them, so that
// one who floods slows down itself and not the others.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

namespace ebpf {

// `burst` at once, and `per_second` in the long run.
struct Rate {
  double per_second;
  double burst;
};

struct ControlLimits {
  Rate accepts{1000, 256};          // connections, of all users together
  Rate user_connections{200, 256};  // of one user
  Rate user_joins{100, 200};        // of one user
  Rate user_messages{400, 512};     // of one user
  Rate connection_messages{200, 256};
};

class TokenBucket {
 public:
  explicit TokenBucket(Rate rate);

  bool take();  // false: there is none left
  bool full();

 private:
  void refill();

  Rate rate_;
  double tokens_;
  double last_s_;
};

class PeerBudgets {
 public:
  explicit PeerBudgets(const ControlLimits& limits) : limits_(limits) {}

  struct User {
    explicit User(const ControlLimits& limits)
        : connections(limits.user_connections),
          joins(limits.user_joins),
          messages(limits.user_messages) {}
    TokenBucket connections;
    TokenBucket joins;
    TokenBucket messages;
  };
  // Valid until the next call.
  User& of(uid_t uid);

 private:
  void forget_idle();

  ControlLimits limits_;
  std::unordered_map<uid_t, User> users_;
  double next_sweep_s_ = 0;
};

// Consumer slots that one user may hold; root may have all of them.
inline uint32_t user_slots_max(uint32_t max_consumers) {
  const uint32_t kept = max_consumers / 4 > 0 ? max_consumers / 4 : 1;
  return max_consumers > kept ? max_consumers - kept : 1;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/peer_limits.h"

#include <algorithm>
#include <ctime>

namespace ebpf {
namespace {

// So many users are remembered: one whose buckets are full again need not be, and when all
// are busy, they share what a new one gets.
constexpr size_t kUsersMax = 1024;

double now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

}  // namespace

TokenBucket::TokenBucket(Rate rate) : rate_(rate), tokens_(rate.burst), last_s_(now_s()) {}

void TokenBucket::refill() {
  const double now = now_s();
  tokens_ = std::min(rate_.burst, tokens_ + (now - last_s_) * rate_.per_second);
  last_s_ = now;
}

bool TokenBucket::take() {
  refill();
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

bool TokenBucket::full() {
  refill();
  return tokens_ >= rate_.burst;
}

PeerBudgets::User& PeerBudgets::of(uid_t uid) {
  if (auto known = users_.find(uid); known != users_.end()) return known->second;
  if (users_.size() >= kUsersMax && now_s() >= next_sweep_s_) forget_idle();
  const uid_t key = users_.size() < kUsersMax ? uid : users_.begin()->first;
  return users_.try_emplace(key, limits_).first->second;
}

void PeerBudgets::forget_idle() {
  next_sweep_s_ = now_s() + 0.1;
  for (auto at = users_.begin(); at != users_.end();) {
    User& user = at->second;
    const bool idle = user.connections.full() && user.joins.full() && user.messages.full();
    at = idle ? users_.erase(at) : std::next(at);
  }
}

}  // namespace ebpf

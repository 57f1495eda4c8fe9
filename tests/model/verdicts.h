// SPDX-License-Identifier: Apache-2.0
// Mutants that break nothing, and why.
#pragma once

#include <string>
#include <utility>

namespace ebpf::model {

struct Harmless {
  const char* mutant;
  const char* why;
};

constexpr const char* kRecheck =
    "an exchange always sees the latest announcement; who finds it cleared looks at the lanes "
    "with seq_cst before it sleeps again";

constexpr Harmless kHarmless[] = {
    {"pin_segment/dir.load_acquire=relaxed",
     "the head that led to it was acquired; an entry that is older or newer than that leads to "
     "a block of another generation"},
    {"open/dir.store_release=relaxed", "head, which is stored after it, publishes it"},
    {"open/generation.store_release=relaxed",
     "head, which is stored after it, publishes what is before both"},
    {"pin_tail/head.load_acquire=relaxed", "the generation is acquired, too"},
    {"pin_oldest/head.load_acquire=relaxed", "the generation is acquired, too"},
    {"pin_tail/committed.load_acquire=relaxed", "no record is read before it is acquired again"},
    {"leave_segment/head.load_acquire=relaxed",
     "seek_segment acquires it again before it is relied on"},
    {"quiet_points_passed/quiet_points.load_seq_cst=acquire",
     "only has to come after what the drain thread did with the page"},
    {"take_announcement/sleeping.exchange_seq_cst=acq_rel", kRecheck},
    {"take_announcement/sleeping.exchange_seq_cst=acquire", kRecheck},
    {"take_announcement/sleeping.exchange_seq_cst=release", kRecheck},
    {"take_announcement/sleeping.exchange_seq_cst=relaxed", kRecheck},
    {"seq_cst-stores-instead-of-barrier", "the other way to order them, dearer for each burst"},
};

// One of the two is needed.
constexpr std::pair<const char*, const char*> kOnlyTogether[] = {
    {"open/generation.store_release=relaxed", "pin_tail/head.load_acquire=relaxed"},
    {"open/generation.store_release=relaxed", "pin_oldest/head.load_acquire=relaxed"},
};

inline const char* why_harmless(const std::string& mutant) {
  for (const Harmless& each : kHarmless) {
    if (mutant == each.mutant) return each.why;
  }
  return nullptr;
}

}  // namespace ebpf::model

// SPDX-License-Identifier: Apache-2.0
// The order of steps in which the control thread fills and empties the consumers' slots
// and the drain thread looks into them, and nothing else. docs/RING.md argues why it is
// safe.
//
// It is a template over the slots, so that the very same code runs on shared memory and
// under a model checker. `Slots` gives access to:
//
//   Slots::Page                   what a taken slot holds; false where it is free
//   slots.slot_count(), slots.lane_count()
//   slots.current(slot)           load_seq_cst, store_seq_cst of a Page
//   slots.quiet_points()          load_relaxed, load_seq_cst, store_seq_cst
//   slots.pin(page, lane)         load_seq_cst; a consumer's word, may be anything
//   slots.sleeping(page)          load_seq_cst, exchange_seq_cst; likewise
//   slots.full_barrier()          every store before it is visible before any load after it
//
// Must not include anything of the operating system.
#pragma once

#include <cstdint>

#include "libebpf/ring_layout.h"

namespace ebpf {

// ---- control thread ---------------------------------------------------------------

// Call before the consumer gets the page: its first pin comes later than this in the one
// order of seq_cst operations, so no scan that matters to it misses the slot.
template <class Slots>
void enter_slot(Slots& slots, uint32_t slot, typename Slots::Page page) {
  slots.current(slot).store_seq_cst(page);
}

// Empties the slot. The drain thread may be using the page until it passes the next quiet
// point. Returns how many it had passed when the slot was empty: once
// quiet_points_passed() returns anything else, nobody uses the page any more.
template <class Slots>
uint64_t leave_slot(Slots& slots, uint32_t slot) {
  slots.current(slot).store_seq_cst(typename Slots::Page{});
  return slots.quiet_points().load_seq_cst();
}

template <class Slots>
uint64_t quiet_points_passed(Slots& slots) {
  return slots.quiet_points().load_seq_cst();
}

// ---- drain thread -----------------------------------------------------------------

// It holds no page now.
template <class Slots>
void pass_quiet_point(Slots& slots) {
  slots.quiet_points().store_seq_cst(slots.quiet_points().load_relaxed() + 1);
}

// Calls visit(block index) for each block that some pin names: once at most for each slot
// and lane, which is what the size of the pool rests on.
template <class Slots, class Visit>
void scan_pins(Slots& slots, Visit&& visit) {
  for (uint32_t slot = 0; slot < slots.slot_count(); ++slot) {
    const typename Slots::Page page = slots.current(slot).load_seq_cst();
    if (!page) continue;
    for (uint32_t lane = 0; lane < slots.lane_count(); ++lane) {
      const uint32_t pin = slots.pin(page, lane).load_seq_cst();
      if (pin != 0) visit(pin - 1);
    }
  }
}

// Calls visit(page) for each consumer. The consumers store `sleeping` and then look at the
// lanes; we have stored `committed` and look at `sleeping` from here on. One of the two
// must see the other, and `committed` is a release store: hence the barrier.
template <class Slots, class Visit>
void scan_sleepers(Slots& slots, Visit&& visit) {
  slots.full_barrier();
  for (uint32_t slot = 0; slot < slots.slot_count(); ++slot) {
    const typename Slots::Page page = slots.current(slot).load_seq_cst();
    if (page) visit(page);
  }
}

template <class Slots>
bool says_it_sleeps(Slots& slots, typename Slots::Page page) {
  return slots.sleeping(page).load_seq_cst() != EBPF_AWAKE;
}

// How it is to be woken (EBPF_SLEEPS_*). Cleared before the bell rings: a consumer that
// answers the bell must not find itself still announced, and rely on being rung again.
template <class Slots>
uint32_t take_announcement(Slots& slots, typename Slots::Page page) {
  return slots.sleeping(page).exchange_seq_cst(EBPF_AWAKE);
}

}  // namespace ebpf

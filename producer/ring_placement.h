// SPDX-License-Identifier: Apache-2.0
// Where the ring's memory lies: on which pages, on which NUMA node. What of it the machine
// can do is tried out, not guessed from its version.
#pragma once

#include <cstdint>

#include "libebpf/detail/result.h"

namespace ebpf {

// What is wanted; see --prefault, --huge-pages and --numa-node.
struct MemoryOptions {
  bool prefault = false;    // all of it at the start, page tables included
  bool huge_pages = false;  // where they can be had; RingMemory::pages() says what it became
  int numa_node = -1;       // -1: wherever the kernel likes
};

// Size of the pages of a hugetlb memfd; 0: there is none.
uint64_t hugetlb_page_bytes();

// Whether F_SEAL_FUTURE_WRITE keeps others from writing to hugetlb memory, which kernels
// before 5.13 or so accept and do not enforce. Takes one page for a moment: false as well if
// none is free.
bool hugetlb_keeps_seals(uint64_t page_bytes);

// Whether the kernel has put transparent huge pages under some of the mapping at `base`.
bool has_transparent_pages(const void* base);

// Binds the mapping to a node; before any page of it is there. EINVAL names the nodes that
// the machine has.
Result<> bind_to_node(void* base, uint64_t bytes, int node);

}  // namespace ebpf

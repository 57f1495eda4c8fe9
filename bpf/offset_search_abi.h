/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the offset search and its BPF program agree on: one request, one answer. Included
 * by both sides; it must not include kernel or libc headers.
 */
#ifndef LIBEBPF_BPF_OFFSET_SEARCH_ABI_H
#define LIBEBPF_BPF_OFFSET_SEARCH_ABI_H

#include "libebpf/sock_data.h"

/* Memory is read in pieces that do not straddle a page, so that one that cannot be read
 * does not take its neighbours with it. */
#define OFFSET_SEARCH_PIECE_BYTES 256u
#define OFFSET_SEARCH_PIECES 16u

/* Written by user space; one entry, index 0 of the request map. */
struct offset_search_request {
  uint64_t address;     /* a multiple of OFFSET_SEARCH_PIECE_BYTES */
  uint32_t piece_count; /* 1..OFFSET_SEARCH_PIECES */
  uint32_t sequence;    /* repeated in the answer to this request */
};

/* Written by the program; one entry, index 0 of the answer map. */
struct offset_search_answer {
  uint64_t task;     /* task_struct of the thread that asked */
  uint32_t sequence; /* of the request that was answered */
  uint32_t reserved;
  int32_t errors[OFFSET_SEARCH_PIECES]; /* 0: the piece could be read */
  uint8_t bytes[OFFSET_SEARCH_PIECES * OFFSET_SEARCH_PIECE_BYTES];
};
EBPF_STATIC_ASSERT(sizeof(struct offset_search_request) == 16, "offset_search_request");
EBPF_STATIC_ASSERT(sizeof(struct offset_search_answer) == 80 + 4096, "offset_search_answer");

#endif

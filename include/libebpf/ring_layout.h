/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring in shared memory: what producer and consumers agree on, byte by byte.
 * Plain little-endian integers, natural alignment. docs/RING.md has the pictures
 * and the argument why the protocol is safe.
 *
 * Two kinds of memory:
 *   data     one memfd per epoch: ring header, lane headers, blocks. The producer
 *            writes it; consumers map it read-only and cannot do otherwise.
 *   control  one page (memfd) per attached consumer. The consumer writes it; the
 *            producer reads it as hints and never trusts it for an address.
 *
 * "P" and "C" below are producer and consumer. Every field that changes after the
 * memory is handed out names its writer, its readers and the orders used; fields
 * without such a note are constant for the life of the epoch.
 *
 * Must not include anything but sock_data.h and freestanding C headers.
 */
#ifndef LIBEBPF_RING_LAYOUT_H
#define LIBEBPF_RING_LAYOUT_H

#include "sock_data.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EBPF_RING_MAGIC 0x474e495246504245ull    /* "EBPFRING" */
#define EBPF_CONTROL_MAGIC 0x4c52544346504245ull /* "EBPFCTRL" (control page) */
#define EBPF_RING_LAYOUT_VERSION 1u

#define EBPF_CACHE_LINE 64u
#define EBPF_LANES_MAX 64u
#define EBPF_CONSUMERS_MAX 64u /* upper bound of the option; its default is 16 */
#define EBPF_CONSUMERS_DEFAULT 48u
#define EBPF_RECORD_ALIGN 8u

/* ---- records ---------------------------------------------------------------- */

/* ebpf_record.kind */
#define EBPF_RECORD_DATA 1u /* a SockData: `data` and its payload are valid */
#define EBPF_RECORD_GAP 2u  /* a notice: events were lost before this point  */

/* Why a consumer's stream has a hole (ebpf_gap.cause, gap callback, stats). */
#define EBPF_GAP_LAPPED 1u    /* this consumer was too slow: the ring went round it */
#define EBPF_GAP_PERF_FULL 2u /* kernel: the per-CPU perf buffer was full */
#define EBPF_GAP_NO_ROOM 3u   /* producer: no room in the ring */
#define EBPF_GAP_RESTART 4u   /* the producer is gone; count 0: nobody can know it */
#define EBPF_GAP_CORRUPT 5u   /* a record that could not be valid: skipped its segment */

/*
 * A record as it stands in a segment. It never crosses a segment's end.
 * seq numbers data records per lane, 0, 1, 2 … (modulo 2^64); a gap notice
 * carries the number of the data record that follows it and uses up none.
 */
struct ebpf_record {
  uint32_t length_bytes; /* header included, a multiple of EBPF_RECORD_ALIGN */
  uint16_t kind;         /* EBPF_RECORD_* */
  uint16_t reserved;     /* 0 */
  uint64_t seq;
  struct SK_BPF_DATA data; /* EBPF_RECORD_DATA only; data.cap_len payload bytes follow it */
};

/* A gap notice: same first 16 bytes as ebpf_record. */
struct ebpf_gap {
  uint32_t length_bytes;
  uint16_t kind; /* EBPF_RECORD_GAP */
  uint16_t reserved;
  uint64_t seq;
  uint64_t count;        /* events lost; 0: the number cannot be known */
  uint64_t timestamp_us; /* when the loss was noticed, µs since 1970 */
  uint32_t cause;        /* EBPF_GAP_* */
  uint32_t reserved2;
};

#define EBPF_RECORD_HEAD_BYTES 16u
EBPF_PIN(ebpf_record, kind, 4);
EBPF_PIN(ebpf_record, seq, 8);
EBPF_PIN(ebpf_record, data, 16);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_record) == 160, "ebpf_record");
EBPF_PIN(ebpf_gap, seq, 8);
EBPF_PIN(ebpf_gap, count, 16);
EBPF_PIN(ebpf_gap, timestamp_us, 24);
EBPF_PIN(ebpf_gap, cause, 32);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_gap) == 40, "ebpf_gap");

/* Bytes that a record with so many payload bytes takes in a segment. */
static inline uint32_t ebpf_record_bytes(uint32_t cap_len) {
  return ((uint32_t)sizeof(struct ebpf_record) + cap_len + EBPF_RECORD_ALIGN - 1) &
         ~(EBPF_RECORD_ALIGN - 1);
}

/* ---- data memory ------------------------------------------------------------ */

/* ebpf_ring_header.state */
#define EBPF_RING_RUNNING 1u
#define EBPF_RING_ENDED 2u /* the producer left in good order; nothing more will come */

/* At offset 0 of the data memory. */
struct ebpf_ring_header {
  uint64_t magic;           /* EBPF_RING_MAGIC */
  uint32_t layout_version;  /* EBPF_RING_LAYOUT_VERSION */
  uint32_t header_bytes;    /* sizeof(struct ebpf_ring_header) */
  uint64_t epoch;           /* names this producer run; never 0; larger for a later run */
  uint64_t total_bytes;     /* of the data memory */
  uint32_t lane_count;      /* 1..EBPF_LANES_MAX */
  uint32_t max_consumers;   /* 1..EBPF_CONSUMERS_MAX */
  uint32_t window_segments; /* W: live segments that each lane keeps, at least 2 */
  uint32_t dir_entries;     /* D: entries of a lane's directory, a power of two > W */
  uint32_t block_count;     /* lane_count * W + max_consumers * lane_count + lane_count */
  uint32_t block_bytes;     /* distance of two blocks; header included; a multiple of 4096 */
  uint64_t lanes_offset;    /* of the first lane header */
  uint64_t lane_bytes;      /* distance of two lane headers; a multiple of 4096 */
  uint64_t blocks_offset;   /* of block 0; a multiple of 4096 */
  uint32_t cap_bytes;       /* capture limit in force: no payload is longer */
  uint32_t producer_pid;    /* for people, not for decisions */
  uint64_t created_us;      /* µs since 1970 */

  /* P: store release, once, at an orderly end. C: load acquire. */
  uint32_t state __attribute__((aligned(64))); /* EBPF_RING_* */
  uint32_t reserved[15];
};

EBPF_PIN(ebpf_ring_header, layout_version, 8);
EBPF_PIN(ebpf_ring_header, epoch, 16);
EBPF_PIN(ebpf_ring_header, total_bytes, 24);
EBPF_PIN(ebpf_ring_header, lane_count, 32);
EBPF_PIN(ebpf_ring_header, window_segments, 40);
EBPF_PIN(ebpf_ring_header, block_count, 48);
EBPF_PIN(ebpf_ring_header, lanes_offset, 56);
EBPF_PIN(ebpf_ring_header, lane_bytes, 64);
EBPF_PIN(ebpf_ring_header, blocks_offset, 72);
EBPF_PIN(ebpf_ring_header, cap_bytes, 80);
EBPF_PIN(ebpf_ring_header, created_us, 88);
EBPF_PIN(ebpf_ring_header, state, 128);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_ring_header) == 192, "ebpf_ring_header");

/*
 * One lane: at lanes_offset + lane * lane_bytes. The directory (dir_entries times
 * uint32_t) follows it: dir[n % D] is the index of the block that holds segment n.
 * P: store release, once per segment. C: load acquire. An entry may be stale by the
 * time it is used; the block's generation decides.
 */
struct ebpf_lane_header {
  /*
   * Segments opened so far: segment head-1 is the open one, and head-W..head-1 are
   * live. P: store release after the directory entry and the block's generation are
   * published. C: load acquire.
   */
  uint64_t head;
  /*
   * Sequence number of the next data record. P: store relaxed, before the release
   * store of `committed` that publishes the same records, so that a consumer that has
   * seen a record never reads a published_seq below it. C: load relaxed.
   */
  uint64_t published_seq;
  /* Sequence number of the lane's first record ever; constant (0 but for tests). */
  uint64_t initial_seq;
  uint64_t reserved[5];
};

EBPF_PIN(ebpf_lane_header, published_seq, 8);
EBPF_PIN(ebpf_lane_header, initial_seq, 16);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_lane_header) == 64, "ebpf_lane_header");

/* One block: at blocks_offset + index * block_bytes. Records start behind the header. */
struct ebpf_block_header {
  /*
   * What the block holds: ebpf_generation(lane, segment), or 0 once retired. Unique
   * across lanes, never used twice.
   * P: 0 by store seq_cst before it scans the pins; the new value by store release
   * after first_seq and committed are reset. C: load seq_cst after its pin exchange.
   */
  uint64_t generation;
  /* seq of the first data record. P: relaxed, before `generation`. C: relaxed, after. */
  uint64_t first_seq;
  uint64_t reserved[6];
  /*
   * How much may be read: ebpf_committed(). The one store that publishes records.
   * P: store release, per burst. C: load acquire, only while the block is pinned.
   */
  uint64_t committed __attribute__((aligned(64)));
  uint64_t reserved2[7];
};

EBPF_PIN(ebpf_block_header, first_seq, 8);
EBPF_PIN(ebpf_block_header, committed, 64);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_block_header) == 128, "ebpf_block_header");

/* generation of a segment in a block; never 0; n below 2^56 (for ever, in practice). */
static inline uint64_t ebpf_generation(uint32_t lane, uint64_t segment) {
  return ((segment + 1) << 8) | lane;
}

/*
 * The committed word: bytes of records (bits 0..31), number of data records (32..62),
 * sealed (63): a sealed segment gets no more records, go on with the next one.
 */
#define EBPF_COMMITTED_SEALED (1ull << 63)
static inline uint64_t ebpf_committed(uint32_t bytes, uint32_t records) {
  return ((uint64_t)records << 32) | bytes;
}
static inline uint32_t ebpf_committed_bytes(uint64_t word) { return (uint32_t)word; }
static inline uint32_t ebpf_committed_records(uint64_t word) {
  return (uint32_t)(word >> 32) & 0x7fffffffu;
}

/* ---- control page ----------------------------------------------------------- */

/* ebpf_control_page.sleeping */
#define EBPF_AWAKE 0u
#define EBPF_SLEEPS_ON_FUTEX 1u    /* FUTEX_WAIT on `sleeping` itself */
#define EBPF_SLEEPS_ON_DOORBELL 2u /* wants EBPF_MSG_DOORBELL on its control socket */

/* A consumer's position in one lane; a cache line of its own. Written by C alone. */
struct ebpf_control_lane {
  /*
   * Block that C reads, index + 1; 0: none. C: exchange seq_cst, then it loads the
   * block's generation; clears by store release. P: load seq_cst, when it rolls.
   */
  uint32_t pin;
  uint32_t reserved;
  /* Hints for stats and for a crashed consumer's account. C: store relaxed; P: load relaxed. */
  uint64_t join_seq; /* where it began */
  uint64_t next_seq; /* data record that it will look at next */
  uint64_t delivered;
  uint64_t filtered;
  uint64_t lost; /* lapped or corrupt */
  uint64_t reserved2[2];
};

struct ebpf_control_page {
  uint64_t magic; /* EBPF_CONTROL_MAGIC; written by P before it is handed out */
  uint32_t layout_version;
  uint32_t lane_count;
  uint64_t epoch;
  uint64_t reserved[5];
  /*
   * C: store seq_cst EBPF_SLEEPS_*, then it looks at the lanes once more, then waits;
   * store relaxed EBPF_AWAKE when it goes on. P: after a burst, load seq_cst; when set,
   * exchange seq_cst to EBPF_AWAKE and wake. Futex word for EBPF_SLEEPS_ON_FUTEX.
   */
  uint32_t sleeping __attribute__((aligned(64)));
  uint32_t reserved2[15];
  struct ebpf_control_lane lanes[EBPF_LANES_MAX];
};

EBPF_PIN(ebpf_control_lane, join_seq, 8);
EBPF_PIN(ebpf_control_lane, lost, 40);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_control_lane) == 64, "ebpf_control_lane");
EBPF_PIN(ebpf_control_page, epoch, 16);
EBPF_PIN(ebpf_control_page, sleeping, 64);
EBPF_PIN(ebpf_control_page, lanes, 128);
EBPF_STATIC_ASSERT(sizeof(struct ebpf_control_page) == 128 + 64 * 64, "ebpf_control_page");

/* Size of the control memfd: whole pages. */
#define EBPF_CONTROL_BYTES 8192u

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded trace: what `ebpf-producer --record FILE` and `ebpfctl record FILE` write, and
 * `ebpf-producer --replay FILE` and `ebpfctl ... --from FILE` read. docs/TRACEFILE.md has the
 * picture. Plain little-endian integers.
 *
 *   trace_file_header, then frames:
 *   trace_file_frame, then body_bytes of body: one ring record as it stood in the ring
 *   (struct ebpf_record with its payload, or struct ebpf_gap), at last struct trace_file_end.
 *
 * Checksums are CRC-32 as zlib's crc32() computes it. A file without its end was cut off, and
 * is read up to its last whole frame; files of version 1 have no end, and may stop behind any
 * frame. A trace holds captured payload: created with mode 0600.
 */
#ifndef LIBEBPF_TRACE_FILE_H
#define LIBEBPF_TRACE_FILE_H

#include "ring_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EBPF_TRACE_MAGIC 0x3143455246504245ull /* "EBPFREC1" */
#define EBPF_TRACE_VERSION 2u                  /* written; versions from 1 on are read */

struct trace_file_header {
  uint64_t magic;
  uint32_t version;      /* EBPF_TRACE_VERSION */
  uint32_t header_bytes; /* sizeof(struct trace_file_header); frames start here */
  uint64_t created_us;   /* µs since 1970 */
  uint32_t cap_bytes;    /* capture limit when it was recorded */
  uint32_t reserved[8];
  uint32_t crc; /* of everything above */
};

struct trace_file_frame {
  uint32_t body_bytes; /* sizeof(ebpf_gap) .. ebpf_record_bytes(EBPF_CAP_BYTES_MAX) */
  uint32_t crc;        /* of the body */
};

/* trace_file_end.kind, beside EBPF_RECORD_DATA and EBPF_RECORD_GAP */
#define EBPF_TRACE_END 3u

/* The last frame of a file that is whole: same first 8 bytes as ebpf_record. */
struct trace_file_end {
  uint32_t length_bytes; /* sizeof(struct trace_file_end) */
  uint16_t kind;         /* EBPF_TRACE_END */
  uint16_t reserved;     /* 0 */
  uint64_t records;      /* data records in the file */
  uint64_t gaps;         /* gap notices in the file */
  uint64_t ended_us;     /* when recording ended, µs since 1970 */
  uint64_t reserved2;    /* 0 */
};

EBPF_STATIC_ASSERT(sizeof(struct trace_file_end) == 40, "trace_file_end");
EBPF_STATIC_ASSERT(sizeof(struct trace_file_header) == 64, "trace_file_header");
EBPF_STATIC_ASSERT(sizeof(struct trace_file_frame) == 8, "trace_file_frame");

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded trace: what `ebpf-producer --record FILE` writes and `--replay FILE` reads.
 * Plain little-endian integers.
 *
 *   trace_file_header, then frames until the end of the file:
 *   trace_file_frame, then body_bytes of body: one ring record as it stood in the ring
 *   (struct ebpf_record with its payload, or struct ebpf_gap).
 *
 * Checksums are CRC-32 as zlib's crc32() computes it. A file that was cut off is read up
 * to its last whole frame. It holds captured payload: created with mode 0600.
 */
#ifndef LIBEBPF_TRACE_FILE_H
#define LIBEBPF_TRACE_FILE_H

#include "ring_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EBPF_TRACE_MAGIC 0x3143455246504245ull /* "EBPFREC1" */
#define EBPF_TRACE_VERSION 1u

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

EBPF_STATIC_ASSERT(sizeof(struct trace_file_header) == 64, "trace_file_header");
EBPF_STATIC_ASSERT(sizeof(struct trace_file_frame) == 8, "trace_file_frame");

#ifdef __cplusplus
}
#endif
#endif

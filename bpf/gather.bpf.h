/* SPDX-License-Identifier: GPL-2.0 */
/* Copies the bytes that a call moved from user memory into the scratch payload. */
#ifndef LIBEBPF_BPF_GATHER_BPF_H
#define LIBEBPF_BPF_GATHER_BPF_H

#include "bpf/maps.bpf.h"

/* The parts of struct msghdr and struct mmsghdr that are read. */
struct user_msghdr {
  uint64_t name;
  uint32_t name_len;
  uint32_t reserved;
  uint64_t iov;
  uint64_t iov_len;
};
#define USER_MMSGHDR_BYTES 64
#define USER_MMSGHDR_LEN 56 /* struct mmsghdr.msg_len */

/* Appends up to `size` bytes, no more than the limit leaves. Returns 0 if they could not
 * be read. */
EBPF_INLINE int gather_range(struct scratch* scratch, uint64_t from, uint64_t size) {
  struct call_state* call = &scratch->call;
  /* Both come from memory again each time: the verifier then knows nothing of them, and
   * one visited state of the unrolled loop covers the next. */
  uint64_t captured = *(volatile uint32_t*)&call->captured;
  uint64_t limit = *(volatile uint32_t*)&call->limit;
  if (captured >= limit) return 1;
  uint64_t left = limit - captured;
  if (size > left) size = left;
  if (size == 0) return 1;
  /* position <= 16383 and size <= 16384: below the 32768 bytes of the two payload arrays. */
  uint64_t position = captured;
  FORGET(position);
  position &= EBPF_CAP_BYTES_MAX - 1;
  uint8_t* to = scratch->payload.bytes + position;
  uint64_t bound = BOUND_SIZE(size, EBPF_CAP_BYTES_MAX);
  if (read_user(to, bound, from)) return 0;
  *(volatile uint32_t*)&call->captured = captured + bound;
  return 1;
}

EBPF_INLINE int gather_iovecs(struct scratch* scratch, uint64_t iov, uint64_t count) {
  struct call_state* call = &scratch->call;
  if (count == 0) return 1;
  if (count > IOVECS_MAX) count = IOVECS_MAX;
  /* 16..256 of 256 bytes. */
  uint64_t bytes =
      BOUND_SIZE(count * sizeof(struct user_iovec), IOVECS_MAX * sizeof(struct user_iovec));
  if (read_user(call->iovecs, bytes, iov)) return 0;
  call->user_count = count;
#pragma unroll
  for (uint32_t i = 0; i < IOVECS_MAX; i++) {
    if (i >= *(volatile uint64_t*)&call->user_count) return 1;
    if (!gather_range(scratch, *(volatile uint64_t*)&call->iovecs[i].base,
                      *(volatile uint64_t*)&call->iovecs[i].len))
      return 0;
  }
  return 1;
}

/* Reads the message header, if there is one, and leaves its name, iovecs and, for
 * CALL_MMSG, its length in `call`. */
EBPF_INLINE int open_message(struct call_state* call) {
  struct user_msghdr header = {};
  uint64_t at = call->user;
  if (call->kind == CALL_MMSG) {
    uint32_t moved = 0;
    at += (uint64_t)call->message * USER_MMSGHDR_BYTES;
    if (read_user(&moved, sizeof(moved), at + USER_MMSGHDR_LEN)) return 0;
    call->moved = moved;
    call->behind -= moved;
  }
  if (read_user(&header, sizeof(header), at)) return 0;
  call->name = header.name;
  call->name_len = header.name_len;
  call->message_iov = header.iov;
  call->message_iov_count = header.iov_len;
  return 1;
}

/* Returns 0 if user memory could not be read; `captured` bytes are there in any case. */
EBPF_INLINE int gather(struct scratch* scratch, uint32_t cap_bytes) {
  struct call_state* call = &scratch->call;
  int is_readable = 1;
#pragma unroll
  for (int i = 1; i < INFER_WINDOW_BYTES / 8; i++) scratch->payload.words[i] = 0;
  scratch->payload.words[0] = call->held; /* 0 mostly */
  call->captured = call->held_count;
  if (call->kind >= CALL_MSG) is_readable = open_message(call);
  call->limit = call->moved < cap_bytes ? call->moved : cap_bytes;
  if (call->is_truncating && call->protocol == EBPF_IPPROTO_TCP) call->limit = 0;
  if (!is_readable) return 0;
  if (call->kind == CALL_BUFFER) return gather_range(scratch, call->user, call->user_count);
  if (call->kind == CALL_IOVEC) {
    call->message_iov = call->user;
    call->message_iov_count = call->user_count;
  }
  return gather_iovecs(scratch, call->message_iov, call->message_iov_count);
}

#endif

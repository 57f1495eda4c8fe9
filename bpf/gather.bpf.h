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

/* The same in 32-bit processes. */
struct compat_msghdr {
  uint32_t name;
  uint32_t name_len;
  uint32_t iov;
  uint32_t iov_len;
};
struct compat_iovec {
  uint32_t base;
  uint32_t len;
};
#define COMPAT_MMSGHDR_BYTES 32
#define COMPAT_MMSGHDR_LEN 28

/* `is_native`: the program knows that the call is no 32-bit one. Else it is looked up each time, so
 * that there is one path for both behind it. */
EBPF_INLINE int is_narrow(const struct call_state* call, int is_native) {
  return is_native ? 0 : *(const volatile uint8_t*)&call->is_compat;
}

/* Where message `index` of a sendmmsg or recvmmsg stands, and its length. */
EBPF_INLINE uint64_t message_at(const struct call_state* call, uint32_t index) {
  return call->user + index * (call->is_compat ? COMPAT_MMSGHDR_BYTES : USER_MMSGHDR_BYTES);
}

EBPF_INLINE uint64_t message_len_at(const struct call_state* call, uint32_t index) {
  return message_at(call, index) + (call->is_compat ? COMPAT_MMSGHDR_LEN : USER_MMSGHDR_LEN);
}

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

/* `count` elements of the array at `from`, count in 1..IOVECS_MAX, into call->iovecs. */
EBPF_INLINE int read_iovecs(struct call_state* call, uint64_t from, uint64_t count, int is_native) {
  if (!is_narrow(call, is_native)) {
    /* 16..256 of 256 bytes. */
    uint64_t bytes =
        BOUND_SIZE(count * sizeof(struct user_iovec), IOVECS_MAX * sizeof(struct user_iovec));
    return read_user(call->iovecs, bytes, from) == 0;
  }
  struct compat_iovec narrow[IOVECS_MAX];
  __builtin_memset(narrow, 0, sizeof(narrow));
  /* 8..128 of 128 bytes. */
  uint64_t bytes =
      BOUND_SIZE(count * sizeof(struct compat_iovec), IOVECS_MAX * sizeof(struct compat_iovec));
  if (read_user(narrow, bytes, from)) return 0;
#pragma unroll
  for (uint32_t i = 0; i < IOVECS_MAX; i++) {
    call->iovecs[i].base = narrow[i].base;
    call->iovecs[i].len = narrow[i].len;
  }
  return 1;
}

/* The next IOVECS_MAX elements. */
EBPF_INLINE int gather_iovecs(struct scratch* scratch, int is_native) {
  struct call_state* call = &scratch->call;
  uint64_t done = call->iovecs_done;
  uint64_t count = call->message_iov_count;
  if (count <= done) return 1;
  count -= done;
  if (count > IOVECS_MAX) count = IOVECS_MAX;
  uint64_t element =
      is_narrow(call, is_native) ? sizeof(struct compat_iovec) : sizeof(struct user_iovec);
  if (!read_iovecs(call, call->message_iov + done * element, count, is_native)) return 0;
  call->iovecs_done = done + count;
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

EBPF_INLINE int open_message(struct call_state* call, int is_native) {
  uint64_t at = call->user;
  if (call->kind == CALL_MMSG) {
    uint32_t moved = 0;
    at = message_at(call, call->message);
    if (read_user(&moved, sizeof(moved), message_len_at(call, call->message))) return 0;
    call->moved = moved;
    call->behind -= moved;
  }
  if (is_narrow(call, is_native)) {
    struct compat_msghdr header = {};
    if (read_user(&header, sizeof(header), at)) return 0;
    call->name = header.name;
    call->name_len = header.name_len;
    call->message_iov = header.iov;
    call->message_iov_count = header.iov_len;
    return 1;
  }
  struct user_msghdr header = {};
  if (read_user(&header, sizeof(header), at)) return 0;
  call->name = header.name;
  call->name_len = header.name_len;
  call->message_iov = header.iov;
  call->message_iov_count = header.iov_len;
  return 1;
}

/* One read will overwrite all of the window. */
EBPF_INLINE int fills_window(const struct call_state* call) {
  return call->kind == CALL_BUFFER && !call->held_count &&
         call->limit >= sizeof(union infer_window) && call->user_count >= call->limit;
}

/* The window of inference as it is before anything was gathered. */
EBPF_INLINE void clear_window(struct scratch* scratch) {
#pragma unroll
  for (uint32_t i = 2; i < sizeof(union infer_window) / 8; i++) scratch->payload.words[i] = 0;
  scratch->payload.words[0] = scratch->call.held[0]; /* 0 mostly */
  scratch->payload.words[1] = scratch->call.held[1];
}

/*
 * Before the first pass: reads the message header, if there is one, and leaves its name,
 * iovecs and, for CALL_MMSG, its length in `call`. Returns 0 if user memory could not be read;
 * then nothing is gathered.
 */
EBPF_INLINE int begin_gather(struct scratch* scratch, uint32_t cap_bytes, int is_native) {
  struct call_state* call = &scratch->call;
  int is_readable = 1;
  call->captured = call->held_count;
  if (call->kind >= CALL_MSG) {
    call->message_iov_count = 0;
    is_readable = open_message(call, is_native);
  } else if (call->kind == CALL_IOVEC) {
    call->message_iov = call->user;
    call->message_iov_count = call->user_count;
  }
  call->limit = call->moved < cap_bytes ? call->moved : cap_bytes;
  if (call->is_truncating && call->protocol == EBPF_IPPROTO_TCP) call->limit = 0;
  if (call->kind == CALL_NO_BYTES || !is_readable) call->limit = 0;
  if (!fills_window(call)) clear_window(scratch);
  return is_readable;
}

/* One pass. Returns 0 if user memory could not be read; `captured` bytes are there in any
 * case, and nothing more is to be gathered. */
EBPF_INLINE int gather(struct scratch* scratch, int is_native) {
  struct call_state* call = &scratch->call;
  int is_readable = 1;
  if (call->limit == 0) return 1;
  if (call->kind == CALL_BUFFER) {
    is_readable = gather_range(scratch, call->user, call->user_count);
    if (!is_readable && fills_window(call)) clear_window(scratch);
  } else {
    is_readable = gather_iovecs(scratch, is_native);
  }
  if (!is_readable) call->message_iov_count = 0;
  return is_readable;
}

/* Whether another pass would find more, and may be made. */
EBPF_INLINE int has_more_to_gather(const struct call_state* call) {
  if (call->kind < CALL_IOVEC || call->captured >= call->limit) return 0;
  if (call->message_iov_count <= call->iovecs_done) return 0;
  uint32_t messages_behind = call->message_count - call->message - 1;
  uint32_t per_message =
      call->protocol == EBPF_IPPROTO_TCP ? TAIL_CALLS_PER_TCP_MESSAGE : TAIL_CALLS_PER_MESSAGE;
  return call->tail_calls + per_message * (messages_behind + 1) <= TAIL_CALLS_MAX;
}

#endif

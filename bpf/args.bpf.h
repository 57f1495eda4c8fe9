/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a system call's number and arguments to what is worth capturing. Both attach back
 * ends come here with the same arguments (x86-64 order).
 */
#ifndef LIBEBPF_BPF_ARGS_BPF_H
#define LIBEBPF_BPF_ARGS_BPF_H

#include "bpf/maps.bpf.h"

enum {
  NR_READ = 0,
  NR_WRITE = 1,
  NR_READV = 19,
  NR_WRITEV = 20,
  NR_SENDTO = 44,
  NR_RECVFROM = 45,
  NR_SENDMSG = 46,
  NR_RECVMSG = 47,
  NR_RECVMMSG = 299,
  NR_SENDMMSG = 307,
};

/* Flags of the recv family. */
enum {
  FLAG_OOB = 0x1,
  FLAG_PEEK = 0x2,
  FLAG_TRUNC = 0x20,
  FLAG_ERRQUEUE = 0x2000,
};

EBPF_INLINE int is_traced_call(uint64_t nr) {
  if (nr <= NR_WRITE) return 1;
  if (nr < NR_READV) return 0;
  if (nr <= NR_WRITEV) return 1;
  if (nr < NR_SENDTO) return 0;
  if (nr <= NR_RECVMSG) return 1;
  return nr == NR_RECVMMSG || nr == NR_SENDMMSG;
}

/* Fills everything that the arguments tell. Returns 0 if the call is not to be captured. */
EBPF_INLINE int decode_call(struct call_state* call, uint64_t nr, const uint64_t* args) {
  uint64_t flags = 0;
  call->user = args[1];
  call->user_count = args[2];
  call->name = 0;
  call->name_len = 0;
  call->name_len_at = 0;
  call->is_truncating = 0;
  call->direction = SOCK_DIR_RCV;
  if (nr == NR_READ || nr == NR_WRITE || nr == NR_SENDTO || nr == NR_RECVFROM) {
    call->kind = CALL_BUFFER;
    if (nr == NR_SENDTO || nr == NR_RECVFROM) {
      flags = args[3];
      call->name = args[4];
      if (nr == NR_SENDTO) {
        call->name_len = args[5];
      } else {
        call->name_len_at = args[5];
      }
    }
  } else if (nr == NR_READV || nr == NR_WRITEV) {
    call->kind = CALL_IOVEC;
  } else if (nr == NR_SENDMSG || nr == NR_RECVMSG) {
    call->kind = CALL_MSG;
    flags = args[2];
  } else {
    call->kind = CALL_MMSG;
    flags = args[3];
  }
  if (nr == NR_WRITE || nr == NR_WRITEV || nr == NR_SENDTO || nr == NR_SENDMSG ||
      nr == NR_SENDMMSG) {
    call->direction = SOCK_DIR_SND;
    return 1;
  }
  /* Peeked bytes come again; the others are no part of the stream. */
  if (flags & (FLAG_PEEK | FLAG_OOB | FLAG_ERRQUEUE)) return 0;
  call->is_truncating = (flags & FLAG_TRUNC) != 0;
  return 1;
}

#endif

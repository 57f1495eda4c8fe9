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
  NR_SENDFILE = 40,
  NR_SENDTO = 44,
  NR_RECVFROM = 45,
  NR_SENDMSG = 46,
  NR_RECVMSG = 47,
  NR_SPLICE = 275,
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

#define NR_BIT(nr) (1ull << (nr))
#define TRACED_BELOW_64                                                                 \
  (NR_BIT(NR_READ) | NR_BIT(NR_WRITE) | NR_BIT(NR_READV) | NR_BIT(NR_WRITEV) |          \
   NR_BIT(NR_SENDFILE) | NR_BIT(NR_SENDTO) | NR_BIT(NR_RECVFROM) | NR_BIT(NR_SENDMSG) | \
   NR_BIT(NR_RECVMSG))

EBPF_INLINE int is_traced_call(uint64_t nr) {
  if (nr < 64) return (TRACED_BELOW_64 >> nr) & 1;
  return nr == NR_SPLICE || nr == NR_RECVMMSG || nr == NR_SENDMMSG;
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
  if (nr == NR_SENDFILE || nr == NR_SPLICE) {
    call->kind = CALL_NO_BYTES;
  } else if (nr == NR_READ || nr == NR_WRITE || nr == NR_SENDTO || nr == NR_RECVFROM) {
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
      nr == NR_SENDMMSG || nr == NR_SENDFILE) {
    call->direction = SOCK_DIR_SND;
    return 1;
  }
  /* Peeked bytes come again; the others are no part of the stream. */
  if (flags & (FLAG_PEEK | FLAG_OOB | FLAG_ERRQUEUE)) return 0;
  call->is_truncating = (flags & FLAG_TRUNC) != 0;
  return 1;
}

/* Numbers of the i386 system calls, and of the calls behind socketcall(). */
enum {
  NR32_READ = 3,
  NR32_WRITE = 4,
  NR32_SOCKETCALL = 102,
  NR32_READV = 145,
  NR32_WRITEV = 146,
  NR32_SENDFILE = 187,
  NR32_SENDFILE64 = 239,
  NR32_SPLICE = 313,
  NR32_RECVMMSG = 337,
  NR32_SENDMMSG = 345,
  NR32_SENDTO = 369,
  NR32_SENDMSG = 370,
  NR32_RECVFROM = 371,
  NR32_RECVMSG = 372,
  NR32_RECVMMSG_TIME64 = 417,
  SOCKETCALL_SEND = 9,
  SOCKETCALL_RECV = 10,
  SOCKETCALL_SENDTO = 11,
  SOCKETCALL_RECVFROM = 12,
  SOCKETCALL_SENDMSG = 16,
  SOCKETCALL_RECVMSG = 17,
  SOCKETCALL_RECVMMSG = 19,
  SOCKETCALL_SENDMMSG = 20,
};
#define NR_NONE (~0ull)

/* The number that the same call has in 64-bit processes; NR_NONE if it is not traced. */
EBPF_INLINE uint64_t native_number(uint64_t nr) {
  if (nr == NR32_READ) return NR_READ;
  if (nr == NR32_WRITE) return NR_WRITE;
  if (nr == NR32_READV) return NR_READV;
  if (nr == NR32_WRITEV) return NR_WRITEV;
  if (nr == NR32_SENDFILE || nr == NR32_SENDFILE64) return NR_SENDFILE;
  if (nr == NR32_SPLICE) return NR_SPLICE;
  if (nr == NR32_RECVMMSG || nr == NR32_RECVMMSG_TIME64) return NR_RECVMMSG;
  if (nr == NR32_SENDMMSG) return NR_SENDMMSG;
  if (nr == NR32_SENDTO) return NR_SENDTO;
  if (nr == NR32_SENDMSG) return NR_SENDMSG;
  if (nr == NR32_RECVFROM) return NR_RECVFROM;
  if (nr == NR32_RECVMSG) return NR_RECVMSG;
  return NR_NONE;
}

EBPF_INLINE uint64_t socketcall_number(uint64_t call) {
  if (call == SOCKETCALL_SEND || call == SOCKETCALL_SENDTO) return NR_SENDTO;
  if (call == SOCKETCALL_RECV || call == SOCKETCALL_RECVFROM) return NR_RECVFROM;
  if (call == SOCKETCALL_SENDMSG) return NR_SENDMSG;
  if (call == SOCKETCALL_RECVMSG) return NR_RECVMSG;
  if (call == SOCKETCALL_RECVMMSG) return NR_RECVMMSG;
  if (call == SOCKETCALL_SENDMMSG) return NR_SENDMMSG;
  return NR_NONE;
}

/* Makes `args` what they would be in a 64-bit process, and gives the call's number there. */
EBPF_INLINE uint64_t widen_call(uint64_t nr, uint64_t* args) {
  if (nr != NR32_SOCKETCALL) return native_number(nr);
  uint64_t call = args[0];
  uint32_t words[6] = {};
  nr = socketcall_number(call);
  if (nr == NR_NONE) return nr;
  /* send and recv have no address; what stands behind their arguments is none of theirs. */
  uint32_t size = call == SOCKETCALL_SEND || call == SOCKETCALL_RECV ? 16 : 24;
  if (nr == NR_SENDMSG || nr == NR_RECVMSG) size = 12;
  if (nr == NR_SENDMMSG || nr == NR_RECVMMSG) size = 16;
  if (size == 12) {
    if (read_user(words, 12, args[1])) return NR_NONE;
  } else if (size == 16) {
    if (read_user(words, 16, args[1])) return NR_NONE;
  } else if (read_user(words, 24, args[1])) {
    return NR_NONE;
  }
#pragma unroll
  for (int i = 0; i < 6; i++) args[i] = words[i];
  return nr;
}

#endif

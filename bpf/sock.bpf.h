/* SPDX-License-Identifier: GPL-2.0 */
/* From a descriptor to its socket, and what the socket says about itself. */
#ifndef LIBEBPF_BPF_SOCK_BPF_H
#define LIBEBPF_BPF_SOCK_BPF_H

#include "bpf/common.bpf.h"
#include "bpf/maps.bpf.h"

enum {
  MODE_TYPE_MASK = 0170000,
  MODE_SOCKET = 0140000,
  FAMILY_INET = 2,
  FAMILY_INET6 = 10,
  TYPE_STREAM = 1,
  TYPE_DGRAM = 2,
  STATE_CLOSE = 7,
  FLAG_BIT_DEAD = 1 << 0, /* sk_flags: no process holds it any more */
  FLAG_BIT_DONE = 1 << 1, /* sk_flags: the peer's FIN has come */
};

struct sock_kind {
  uint16_t family;
  uint16_t protocol;
};

/* Whether it is one of TCP or UDP over IPv4 or IPv6. */
EBPF_INLINE int is_followed(const struct sock_kind* kind, uint16_t type) {
  if (kind->family != FAMILY_INET && kind->family != FAMILY_INET6) return 0;
  return (type == TYPE_STREAM && kind->protocol == EBPF_IPPROTO_TCP) ||
         (type == TYPE_DGRAM && kind->protocol == EBPF_IPPROTO_UDP);
}

/* Returns 0 if it is not followed. */
EBPF_INLINE int read_kind(struct sock_kind* kind, uint64_t sk, const struct offsets_table* at) {
  kind->family = READ_KERNEL(uint16_t, sk, at->sock_family);
  if (kind->family != FAMILY_INET && kind->family != FAMILY_INET6) return 0;
  uint16_t type = READ_KERNEL(uint16_t, sk, at->sock_type);
  if (at->sock_protocol_bytes == 1) {
    kind->protocol = READ_KERNEL(uint8_t, sk, at->sock_protocol);
  } else {
    kind->protocol = READ_KERNEL(uint16_t, sk, at->sock_protocol); /* MPTCP is 262, not 6 */
  }
  return is_followed(kind, type);
}

/* Fills sk, inode, family and protocol of `call`. Returns 0 if the descriptor of the current task
 * is no TCP or UDP socket. */
#ifdef EBPF_DIRECT_LOADS
EBPF_INLINE int resolve_socket(struct call_state* call, uint64_t task,
                               const struct offsets_table* at, uint64_t fd) {
  /* What is null on the way is loaded as 0, to the end of it. */
  const struct fdtable* table = ((const struct task_struct*)task)->files->fdt;
  fd = (uint32_t)fd;
  if (fd >= table->max_fds) return 0;
  uint64_t file_at = READ_KERNEL(uint64_t, (uint64_t)table->fd, fd * 8);
  const struct file* file = AS_KERNEL(file, file_at);
  const struct inode* inode = file->f_inode;
  uint64_t socket_at = (uint64_t)file->private_data;
  if ((inode->i_mode & MODE_TYPE_MASK) != MODE_SOCKET) return 0;
  const struct sock* sk = AS_KERNEL(socket, socket_at)->sk;
  struct sock_kind kind = {.family = sk->__sk_common.skc_family, .protocol = sk->sk_protocol};
  if (!is_followed(&kind, sk->sk_type)) return 0;
  call->sk = (uint64_t)sk;
  call->inode = inode->i_ino;
  call->family = kind.family;
  call->protocol = kind.protocol;
  return 1;
}
#else
EBPF_INLINE int resolve_socket(struct call_state* call, uint64_t task,
                               const struct offsets_table* at, uint64_t fd) {
  uint64_t files = READ_KERNEL(uint64_t, task, at->task_files);
  if (!files) return 0;
  uint64_t fdt = READ_KERNEL(uint64_t, files, at->files_fdt);
  if (!fdt) return 0;
  fd = (uint32_t)fd;
  struct {
    uint64_t max_fds;
    uint64_t array;
  } table = {};
  if (at->fdt_fd == at->fdt_max_fds + 8) { /* as in every kernel so far: one read for both */
    read_kernel_pair((uint64_t*)&table, fdt + at->fdt_max_fds);
  } else {
    table.max_fds = READ_KERNEL(uint32_t, fdt, at->fdt_max_fds);
    table.array = READ_KERNEL(uint64_t, fdt, at->fdt_fd);
  }
  if (fd >= (uint32_t)table.max_fds) return 0;
  uint64_t file = READ_KERNEL(uint64_t, table.array, fd * 8);
  if (!file) return 0;
  uint64_t inode = READ_KERNEL(uint64_t, file, at->file_inode);
  if (!inode) return 0;
  uint16_t mode = READ_KERNEL(uint16_t, inode, at->inode_mode);
  if ((mode & MODE_TYPE_MASK) != MODE_SOCKET) return 0;
  uint64_t socket = READ_KERNEL(uint64_t, file, at->file_private_data);
  if (!socket) return 0;
  uint64_t sk = READ_KERNEL(uint64_t, socket, at->socket_sk);
  if (!sk) return 0;

  struct sock_kind kind;
  if (!read_kind(&kind, sk, at)) return 0;
  call->sk = sk;
  call->inode = READ_KERNEL(uint64_t, inode, at->inode_ino);
  call->family = kind.family;
  call->protocol = kind.protocol;
  return 1;
}
#endif

struct address {
  uint64_t part[2];
};

EBPF_INLINE int is_mapped(const struct address* address) {
  return address->part[0] == 0 && (address->part[1] & 0xffffffffull) == 0xffff0000ull;
}

EBPF_INLINE int is_wildcard(const struct address* address) {
  return address->part[0] == 0 && address->part[1] == 0;
}

/* Makes an IPv4-mapped address look as if it stood in an IPv4 socket. `::` becomes 0.0.0.0. */
EBPF_INLINE void unmap(struct address* address) {
  address->part[0] = address->part[1] >> 32;
  address->part[1] = 0;
}

struct endpoints {
  struct address remote;
  struct address local;
  uint16_t rport; /* host byte order */
  uint16_t lport;
  uint16_t family;
};

EBPF_INLINE void read_endpoints(struct endpoints* ends, const struct call_state* call,
                                const struct offsets_table* at) {
  uint64_t sk = call->sk;
  ends->family = call->family;
  if (call->family == FAMILY_INET) {
    ends->remote.part[0] = READ_KERNEL(uint32_t, sk, at->sock_daddr);
    ends->remote.part[1] = 0;
    ends->local.part[0] = READ_KERNEL(uint32_t, sk, at->sock_rcv_saddr);
    ends->local.part[1] = 0;
  } else {
    __builtin_memset(&ends->remote, 0, sizeof(ends->remote));
    __builtin_memset(&ends->local, 0, sizeof(ends->local));
    read_kernel_pair(ends->remote.part, sk + at->sock_v6_daddr);
    read_kernel_pair(ends->local.part, sk + at->sock_v6_rcv_saddr);
  }
  ends->rport = __builtin_bswap16(READ_KERNEL(uint16_t, sk, at->sock_dport));
  ends->lport = READ_KERNEL(uint16_t, sk, at->sock_num);
}

/* struct sockaddr_in and sockaddr_in6, as words. */
struct user_sockaddr {
  uint16_t family;
  uint16_t port;
  uint32_t in_addr; /* sockaddr_in6: flow info */
  uint64_t in6_addr[2];
};
#define SOCKADDR_IN_BYTES 16
#define SOCKADDR_IN6_MIN_BYTES 24 /* without the scope, which not everyone passes */

/* The peer that the caller named, or was told: it has the last word for UDP. */
EBPF_INLINE void read_named_peer(struct endpoints* ends, const struct call_state* call) {
  uint64_t length = call->name_len;
  if (!call->name) return;
  if (call->name_len_at) {
    uint32_t told = 0;
    if (read_user(&told, sizeof(told), call->name_len_at)) return;
    length = told;
  }
  if (length < SOCKADDR_IN_BYTES) return;
  struct user_sockaddr name = {};
  if (length < SOCKADDR_IN6_MIN_BYTES) {
    if (read_user(&name, SOCKADDR_IN_BYTES, call->name)) return;
    if (name.family != FAMILY_INET) return;
  } else if (read_user(&name, SOCKADDR_IN6_MIN_BYTES, call->name)) {
    return;
  }
  if (name.family == FAMILY_INET) {
    ends->remote.part[0] = name.in_addr;
    ends->remote.part[1] = 0;
    if (ends->family == FAMILY_INET6) { /* a mapped address, in other words */
      ends->remote.part[1] = 0xffff0000ull | (uint64_t)name.in_addr << 32;
      ends->remote.part[0] = 0;
    }
  } else if (name.family == FAMILY_INET6 && ends->family == FAMILY_INET6) {
    ends->remote.part[0] = name.in6_addr[0];
    ends->remote.part[1] = name.in6_addr[1];
  } else {
    return;
  }
  ends->rport = __builtin_bswap16(name.port);
}

EBPF_INLINE void fill_tuple(struct tuple_t* tuple, struct endpoints* ends, uint8_t protocol) {
  if (ends->family == FAMILY_INET6 &&
      (is_mapped(&ends->remote) || (is_wildcard(&ends->remote) && is_mapped(&ends->local)))) {
    unmap(&ends->remote);
    unmap(&ends->local);
    ends->family = FAMILY_INET;
  }
  uint64_t* addresses = (uint64_t*)tuple; /* raddr, laddr; every tuple here is aligned */
  addresses[0] = ends->remote.part[0];
  addresses[1] = ends->remote.part[1];
  addresses[2] = ends->local.part[0];
  addresses[3] = ends->local.part[1];
  tuple->addr_len = ends->family == FAMILY_INET ? 4 : 6;
  tuple->protocol = protocol;
  tuple->rport = ends->rport;
  tuple->lport = ends->lport;
}

/*
 * TCP sequence number of the first byte of this call. Sent bytes have moved write_seq,
 * received ones copied_seq, which also counts the peer's FIN when this call came to it:
 * then nothing more can come, and copied_seq has caught up with rcv_nxt.
 */
EBPF_INLINE uint32_t first_byte_seq(const struct call_state* call, const struct offsets_table* at) {
  uint32_t moved = (uint32_t)(call->moved + call->behind);
#ifdef EBPF_DIRECT_LOADS
  const struct tcp_sock* tcp = AS_KERNEL(tcp_sock, call->sk);
  if (call->direction == SOCK_DIR_SND) return tcp->write_seq - moved;
  uint32_t copied_seq = tcp->copied_seq;
  if ((AS_KERNEL(sock, call->sk)->__sk_common.skc_flags & FLAG_BIT_DONE) &&
      tcp->rcv_nxt == copied_seq)
    moved += 1;
#else
  if (call->direction == SOCK_DIR_SND)
    return READ_KERNEL(uint32_t, call->sk, at->tcp_write_seq) - moved;
  uint32_t copied_seq = READ_KERNEL(uint32_t, call->sk, at->tcp_copied_seq);
  uint64_t flags = READ_KERNEL(uint64_t, call->sk, at->sock_flags);
  if ((flags & FLAG_BIT_DONE) && READ_KERNEL(uint32_t, call->sk, at->tcp_rcv_nxt) == copied_seq)
    moved += 1;
#endif
  return copied_seq - moved;
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EBPF_DIRECT_LOADS: members of kernel structs that every call on a socket needs. libbpf sets their
 * offsets when it loads the programs, from the kernel's BTF, which direct loads need in any case;
 * the table of offsets says the same.
 */
#ifndef LIBEBPF_BPF_KERNEL_TYPES_BPF_H
#define LIBEBPF_BPF_KERNEL_TYPES_BPF_H

#ifdef EBPF_DIRECT_LOADS
#define KERNEL_TYPE __attribute__((preserve_access_index))

struct timespec64 {
  int64_t tv_sec;
} KERNEL_TYPE;

struct inode {
  uint16_t i_mode;
  unsigned long i_ino;
} KERNEL_TYPE;

struct file {
  struct inode* f_inode;
  void* private_data;
} KERNEL_TYPE;

struct fdtable {
  uint32_t max_fds;
  struct file** fd;
} KERNEL_TYPE;

struct files_struct {
  struct fdtable* fdt;
} KERNEL_TYPE;

struct task_struct {
  int pid;
  int tgid;
  char comm[16];
  struct files_struct* files;
} KERNEL_TYPE;

struct sock_common {
  uint16_t skc_family;
  unsigned long skc_flags;
} KERNEL_TYPE;

struct sock {
  struct sock_common __sk_common;
  uint16_t sk_protocol;
  uint16_t sk_type;
} KERNEL_TYPE;

struct socket {
  struct sock* sk;
} KERNEL_TYPE;

struct tcp_sock {
  struct sock inet_conn; /* begins with one */
  uint32_t rcv_nxt;
  uint32_t copied_seq;
  uint32_t write_seq;
} KERNEL_TYPE;

struct pt_regs {
  unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip;
  unsigned long cs;
} KERNEL_TYPE;

extern void* bpf_rdonly_cast(const void* address, uint32_t type_id) __ksym;
/* The address as a pointer to that struct. What is loaded through it is 0 where it points nowhere.
 */
#define AS_KERNEL(type, address)                               \
  ((const struct type*)bpf_rdonly_cast((const void*)(address), \
                                       bpf_core_type_id_kernel(struct type)))
#endif

#endif

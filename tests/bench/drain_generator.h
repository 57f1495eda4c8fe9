/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How a process has events made for it: a getppid() with these arguments. The programs of
 * drain_generator.bpf.c, loaded by ebpf-producer in place of its own, send them the usual way.
 */
#ifndef LIBEBPF_TESTS_BENCH_DRAIN_GENERATOR_H
#define LIBEBPF_TESTS_BENCH_DRAIN_GENERATOR_H

/* First argument; then count | payload bytes << 32, the socket id, the number of the first event.
 */
#define GENERATOR_MAGIC 0x67656e6572617465ull
#define GENERATOR_EVENTS_MAX 16u

/* The payload of an event begins with these. */
struct generated {
  unsigned long long clock_ns; /* CLOCK_MONOTONIC, at the hook */
  unsigned long long number;
};

#endif

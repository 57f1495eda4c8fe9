/* SPDX-License-Identifier: Apache-2.0 */
/* A program's own libbpf beside the one in libebpf.a: its print callback is its own, too. */
#ifndef OWN_LIBBPF_H
#define OWN_LIBBPF_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static int own_lines = 0;

static int own_print(enum libbpf_print_level level, const char* format, va_list args) {
  (void)level;
  (void)format;
  (void)args;
  ++own_lines;
  return 0;
}

/* 0: our callback hears of what we do, and has heard of nothing that the tracer did. */
static int use_own_libbpf(void) {
  static int registered = 0;
  if (!registered) {
    registered = 1;
    libbpf_set_print(own_print);
    return 0;
  }
  if (own_lines != 0) return 1;
  if (bpf_object__open_file("/nonexistent.o", NULL) != NULL) return 2;
  return own_lines > 0 ? 0 : 3;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the original API must refuse, without harm and with one log line each. Needs no
 * privilege: nothing here gets as far as the kernel. Argument: a folder of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "original_api.h"

static int failures = 0;
static char log_path[4096];

static long log_lines(const char* text) {
  char line[4096];
  long found = 0;
  FILE* file = fopen(log_path, "r");
  if (file == NULL) return -1;
  while (fgets(line, sizeof line, file) != NULL) found += strstr(line, text) != NULL;
  fclose(file);
  return found;
}

static void check(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  ++failures;
}
#define CHECK(condition) check((condition), #condition)

/* Refused, with exactly one line that names what was wrong. */
#define CHECK_REFUSED(call, text)              \
  do {                                         \
    const long before = log_lines("refused");  \
    CHECK((call) != 0);                        \
    CHECK(log_lines("refused") == before + 1); \
    CHECK(log_lines(text) > 0);                \
  } while (0)

static void on_data(SK_BPF_DATA* data) { (void)data; }

static void before_init(void) {
  const SK_TRACE_STATS stats = socket_tracer_stats();
  CHECK(stats.tracer_state == TRACER_INIT);
  CHECK(!stats.is_adapt_success);
  CHECK(tracer_start() != 0);
  CHECK(tracer_stop() != 0);
  bpf_tracer_finish();
  CHECK(running_socket_tracer(on_data, 1, 8, 8, 64, 64, 64) != 0);
}

static void init(const char* folder) {
  char path[4096];
  CHECK(bpf_tracer_init("/nonexistent/folder/log", false) != 0);
  CHECK(bpf_tracer_init("/dev/null", false) != 0);
  snprintf(path, sizeof path, "%s/link", folder);
  CHECK(symlink("/etc/passwd", path) == 0);
  CHECK(bpf_tracer_init(path, false) != 0);
  unlink(path);
  CHECK(bpf_tracer_init(log_path, false) == 0);
  CHECK_REFUSED(bpf_tracer_init(log_path, false),
                "bpf_tracer_init() refused: called for the second");
}

static void numbers(void) {
  CHECK_REFUSED(running_socket_tracer(NULL, 1, 8, 8, 64, 64, 64), "callback is NULL");
  CHECK_REFUSED(running_socket_tracer(on_data, 0, 8, 8, 64, 64, 64), "thread_nr is 0");
  CHECK_REFUSED(running_socket_tracer(on_data, -1, 8, 8, 64, 64, 64), "thread_nr is -1");
  CHECK_REFUSED(running_socket_tracer(on_data, 65, 8, 8, 64, 64, 64), "thread_nr is 65");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 0, 8, 64, 64, 64), "perf_pages_cnt is 0");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 12, 8, 64, 64, 64), "perf_pages_cnt is 12");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 0, 64, 64, 64), "ring_size is 0");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 100, 64, 64, 64),
                "ring_size is 100, must be a power of two");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 8, 0, 64, 64), "max_socket_entries is 0");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 8, 64, 0, 64), "max_trace_entries is 0");
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 8, 64, 64, 0), "socket_map_max_reclaim is 0");
  CHECK_REFUSED(tracer_start(), "tracer_start() refused: running_socket_tracer() comes first");
  CHECK_REFUSED(tracer_stop(), "tracer_stop() refused: running_socket_tracer() comes first");
}

/* Exceptions are thrown and caught inside: the library's unwinding must work as linked. */
static void too_little_memory(void) {
  struct rlimit before;
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_AS, &before) == 0);
  limit = before;
  limit.rlim_cur = 512u << 20;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 1u << 24, 64, 64, 64),
                "running_socket_tracer() refused: ");
  CHECK(setrlimit(RLIMIT_AS, &before) == 0);
}

static void no_place_for_a_socket(void) {
  setenv("EBPF_SOCKET", log_path, 1); /* is a file */
  CHECK_REFUSED(running_socket_tracer(on_data, 1, 8, 8, 64, 64, 64),
                "running_socket_tracer() refused: ");
  setenv("EBPF_SOCKET", "", 1);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  mkdir(argv[1], 0700);
  snprintf(log_path, sizeof log_path, "%s/log", argv[1]);
  unlink(log_path);
  char socket_path[4096];
  snprintf(socket_path, sizeof socket_path, "%s/producer.sock", argv[1]);
  setenv("EBPF_SOCKET", socket_path, 1);
  before_init();
  init(argv[1]);
  numbers();
#ifndef __SANITIZE_ADDRESS__
  too_little_memory();
#endif
  no_place_for_a_socket();
  CHECK(socket_tracer_stats().tracer_state == TRACER_INIT);
  return failures == 0 ? 0 : 1;
}

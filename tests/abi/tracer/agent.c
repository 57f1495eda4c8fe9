/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent as it was written for the original library: it declares the API itself, and is
 * told on standard input what to call. Every record and every answer is a line.
 *
 *   agent THREADS 7|8 LOG_FILE|-      start, stop, stats, block, unblock, quit
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "original_api.h"

#ifdef WITH_OWN_LIBBPF
#include "own_libbpf.h"
#endif

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* As the original's Rust binding declares it, with the argument that the function has not. */
typedef int (*eight_fn)(void (*callback)(SK_BPF_DATA*), int, uint32_t, uint32_t, uint32_t, uint32_t,
                        uint32_t, const char*);

static void on_data(SK_BPF_DATA* sd) {
  char line[128];
  uint32_t at = 0;
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  while (at < sd->cap_len && at + 1 < sizeof line && sd->cap_data[at] >= ' ') {
    line[at] = sd->cap_data[at];
    ++at;
  }
  line[at] = '\0';
  pthread_mutex_lock(&output);
  printf(
      "record thread=%ld pid=%u tid=%u name=%s socket=%llu seq=%llu protocol=%u type=%u "
      "reconfirm=%d direction=%u rport=%u lport=%u syscall_len=%llu cap_len=%u time=%llu "
      "trace=%llu tcp_seq=%llu text=%s\n",
      syscall(SYS_gettid), sd->process_id, sd->thread_id, (const char*)sd->process_name,
      (unsigned long long)sd->socket_id, (unsigned long long)sd->cap_seq, sd->l7_protocal_hint,
      sd->msg_type, sd->need_reconfirm, sd->direction, sd->tuple.rport, sd->tuple.lport,
      (unsigned long long)sd->syscall_len, sd->cap_len, (unsigned long long)sd->timestamp,
      (unsigned long long)sd->syscall_trace_id_call, (unsigned long long)sd->tcp_seq, line);
  fflush(stdout);
  pthread_mutex_unlock(&output);
  sd->cap_len = 0; /* the header is a copy of our own */
}

static void print_stats(void) {
  const SK_TRACE_STATS s = socket_tracer_stats();
  pthread_mutex_lock(&output);
  printf(
      "stats perf_pages_count=%u kern_lost=%llu kern_socket_map_max=%u kern_socket_map_used=%u "
      "kern_trace_map_max=%u kern_trace_map_used=%u worker_num=%u queue_capacity=%u "
      "mem_alloc_fail_count=%llu user_enqueue_count=%llu user_dequeue_count=%llu "
      "user_enqueue_lost=%llu queue_burst_count=%llu socket_map_max_reclaim=%u "
      "is_adapt_success=%d tracer_state=%u\n",
      s.perf_pages_count, (unsigned long long)s.kern_lost, s.kern_socket_map_max,
      s.kern_socket_map_used, s.kern_trace_map_max, s.kern_trace_map_used, s.worker_num,
      s.queue_capacity, (unsigned long long)s.mem_alloc_fail_count,
      (unsigned long long)s.user_enqueue_count, (unsigned long long)s.user_dequeue_count,
      (unsigned long long)s.user_enqueue_lost, (unsigned long long)s.queue_burst_count,
      s.socket_map_max_reclaim, s.is_adapt_success, s.tracer_state);
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

static void answer(const char* command, int result) {
  pthread_mutex_lock(&output);
  printf("answer %s %d\n", command, result);
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

static void obey(const char* command) {
  if (strcmp(command, "start") == 0) answer(command, tracer_start());
  if (strcmp(command, "stop") == 0) answer(command, tracer_stop());
  if (strcmp(command, "stats") == 0) print_stats();
  if (strcmp(command, "block") == 0) answer(command, pthread_mutex_lock(&gate));
  if (strcmp(command, "unblock") == 0) answer(command, pthread_mutex_unlock(&gate));
#ifdef WITH_OWN_LIBBPF
  if (strcmp(command, "own_libbpf") == 0) answer(command, use_own_libbpf());
#endif
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const char* log_file = strcmp(argv[3], "-") == 0 ? NULL : argv[3];
  const int threads = atoi(argv[1]);
  if (bpf_tracer_init(log_file, log_file == NULL) != 0) return 1;
  int result;
  if (strcmp(argv[2], "8") == 0) {
    eight_fn with_log_file;
    int (*const declared)(void (*)(SK_BPF_DATA*), int, uint32_t, uint32_t, uint32_t, uint32_t,
                          uint32_t) = running_socket_tracer;
    memcpy(&with_log_file, &declared, sizeof declared);
    result = with_log_file(on_data, threads, 64, 4096, 8192, 8192, 8000, "/nonexistent/log");
  } else {
    result = running_socket_tracer(on_data, threads, 64, 4096, 8192, 8192, 8000);
  }
  answer("running", result);
  if (result != 0) return 3;
  bpf_tracer_finish();
  char command[64];
  while (fgets(command, sizeof command, stdin) != NULL) {
    command[strcspn(command, "\n")] = '\0';
    if (strcmp(command, "quit") == 0) break;
    obey(command);
  }
  return 0;
}

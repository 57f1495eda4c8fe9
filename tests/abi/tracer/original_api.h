/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The original API as a program written for it declares it, from that library's document;
 * nothing of ours is included. The asserts pin what its callers were compiled against.
 */
#ifndef ORIGINAL_API_H
#define ORIGINAL_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define ORIGINAL_ASSERT static_assert
extern "C" {
#else
#define ORIGINAL_ASSERT _Static_assert
#endif

enum { SOCK_DIR_SND = 0, SOCK_DIR_RCV = 1 };
enum { MSG_REQUEST = 1, MSG_RESPONSE = 2 };
enum { SOCK_DATA_HTTP1 = 20, SOCK_DATA_DNS = 120 };
enum { TRACER_INIT, TRACER_STOP, TRACER_RUNNING };

typedef struct {
  uint8_t raddr[16];
  uint8_t laddr[16];
  uint8_t addr_len;
  uint8_t protocol;
  uint16_t rport;
  uint16_t lport;
} tuple_t;

typedef struct {
  uint32_t process_id;
  uint32_t thread_id;
  uint8_t process_name[16];
  tuple_t tuple;
  uint64_t socket_id;
  uint16_t l7_protocal_hint;
  uint8_t msg_type;
  bool need_reconfirm;
  uint64_t tcp_seq;
  uint64_t syscall_trace_id_call;
  uint64_t timestamp;
  uint8_t direction;
  uint64_t syscall_len;
  uint32_t cap_len;
  uint64_t cap_seq;
  char* cap_data;
} SK_BPF_DATA;

typedef struct {
  uint32_t perf_pages_count;
  uint64_t kern_lost;
  uint32_t kern_socket_map_max;
  uint32_t kern_socket_map_used;
  uint32_t kern_trace_map_max;
  uint32_t kern_trace_map_used;
  uint16_t worker_num;
  uint32_t queue_capacity;
  uint64_t mem_alloc_fail_count;
  uint64_t user_enqueue_count;
  uint64_t user_dequeue_count;
  uint64_t user_enqueue_lost;
  uint64_t queue_burst_count;
  uint32_t socket_map_max_reclaim;
  bool is_adapt_success;
  uint8_t tracer_state;
} SK_TRACE_STATS;

ORIGINAL_ASSERT(sizeof(tuple_t) == 38, "tuple_t");
ORIGINAL_ASSERT(sizeof(SK_BPF_DATA) == 144, "SK_BPF_DATA");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, tuple) == 24, "tuple");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, socket_id) == 64, "socket_id");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, need_reconfirm) == 75, "need_reconfirm");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, timestamp) == 96, "timestamp");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, cap_len) == 120, "cap_len");
ORIGINAL_ASSERT(offsetof(SK_BPF_DATA, cap_data) == 136, "cap_data");
ORIGINAL_ASSERT(sizeof(SK_TRACE_STATS) == 88, "SK_TRACE_STATS");
ORIGINAL_ASSERT(offsetof(SK_TRACE_STATS, worker_num) == 32, "worker_num");
ORIGINAL_ASSERT(offsetof(SK_TRACE_STATS, queue_burst_count) == 72, "queue_burst_count");
ORIGINAL_ASSERT(offsetof(SK_TRACE_STATS, tracer_state) == 85, "tracer_state");

int bpf_tracer_init(const char* log_file, bool is_stdout);
void bpf_tracer_finish(void);
SK_TRACE_STATS socket_tracer_stats(void);
int running_socket_tracer(void (*callback)(SK_BPF_DATA* sd), int thread_nr, uint32_t perf_pages_cnt,
                          uint32_t ring_size, uint32_t max_socket_entries,
                          uint32_t max_trace_entries, uint32_t socket_map_max_reclaim);
int tracer_start(void);
int tracer_stop(void);

#ifdef __cplusplus
}
#endif
#endif

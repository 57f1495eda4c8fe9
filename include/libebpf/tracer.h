/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The original API: one tracer per process, records by callback. Programs written for the
 * original library build against this header, or against declarations of their own, and link
 * with -lebpf -lpthread -lelf -lz (libebpf.a needs nothing else, no C++ runtime either).
 *
 *   if (bpf_tracer_init("/var/log/agent.log", true) != 0) exit(1);
 *   if (running_socket_tracer(on_data, 4, 128, 65536, 524288, 524288, 520000) != 0) exit(1);
 *   bpf_tracer_finish();
 *   if (tracer_start() != 0) exit(1);
 *
 * Where a producer runs already ($EBPF_SOCKET, else /run/libebpf/producer.sock), the program
 * attaches to it: that needs access to the socket and no other privilege. Where none runs, the
 * program becomes the producer: that needs root, or CAP_BPF and CAP_PERFMON, and other agents
 * and ebpfctl can join it at the same path. A process is not traced by a producer of its own.
 *
 * Functions that return int give 0, or something else after a log line that says why; what
 * was refused has changed nothing. All functions may be called from any thread, and from
 * inside the callback. The log goes to where bpf_tracer_init() says, before it to stderr.
 */
#ifndef LIBEBPF_TRACER_H
#define LIBEBPF_TRACER_H

#include "sock_data.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef EBPF_API
#if defined(__GNUC__)
#define EBPF_API __attribute__((visibility("default")))
#else
#define EBPF_API
#endif
#endif

typedef struct tuple_t tuple_t;
typedef struct SK_BPF_DATA SK_BPF_DATA;
typedef struct SK_TRACE_STATS SK_TRACE_STATS;

/*
 * Where the tracer stands. Counters only grow; reading resets nothing. Those of the kernel
 * side are the producer's, which may serve other agents as well; those of the user side are
 * this program's own, unless said otherwise.
 */
struct SK_TRACE_STATS {
  /* Kernel side. */
  uint32_t perf_pages_count;     /* pages of each CPU's perf buffer */
  uint64_t kern_lost;            /* records lost because a perf buffer was full */
  uint32_t kern_socket_map_max;  /* sockets that can be followed at once */
  uint32_t kern_socket_map_used; /* sockets followed now */
  uint32_t kern_trace_map_max;   /* threads that can be followed at once */
  uint32_t kern_trace_map_used;  /* threads followed now */
  /* User side. */
  uint16_t worker_num;           /* threads that call back */
  uint32_t queue_capacity;       /* records that a lane of the ring holds at least */
  uint64_t mem_alloc_fail_count; /* times that memory was short */
  uint64_t user_enqueue_count;   /* records put into the queues for this program */
  uint64_t user_dequeue_count;   /* records handed to the callback */
  uint64_t user_enqueue_lost;    /* records that this program was too slow for */
  uint64_t queue_burst_count;    /* whole bursts (16 records) put into the ring, by the producer */
  uint32_t socket_map_max_reclaim; /* followed sockets from which on idle ones are swept */
  /* State. */
  bool is_adapt_success; /* adapted to the kernel, or attached to a producer that is */
  uint8_t tracer_state;  /* TRACER_* */
};

EBPF_PIN(SK_TRACE_STATS, kern_lost, 8);
EBPF_PIN(SK_TRACE_STATS, kern_socket_map_max, 16);
EBPF_PIN(SK_TRACE_STATS, kern_socket_map_used, 20);
EBPF_PIN(SK_TRACE_STATS, kern_trace_map_max, 24);
EBPF_PIN(SK_TRACE_STATS, kern_trace_map_used, 28);
EBPF_PIN(SK_TRACE_STATS, worker_num, 32);
EBPF_PIN(SK_TRACE_STATS, queue_capacity, 36);
EBPF_PIN(SK_TRACE_STATS, mem_alloc_fail_count, 40);
EBPF_PIN(SK_TRACE_STATS, user_enqueue_count, 48);
EBPF_PIN(SK_TRACE_STATS, user_dequeue_count, 56);
EBPF_PIN(SK_TRACE_STATS, user_enqueue_lost, 64);
EBPF_PIN(SK_TRACE_STATS, queue_burst_count, 72);
EBPF_PIN(SK_TRACE_STATS, socket_map_max_reclaim, 80);
EBPF_PIN(SK_TRACE_STATS, is_adapt_success, 84);
EBPF_PIN(SK_TRACE_STATS, tracer_state, 85);
EBPF_STATIC_ASSERT(sizeof(struct SK_TRACE_STATS) == 88, "SK_TRACE_STATS");

/*
 * Once, before all else. log_file: appended to, made with mode 0640 where missing, must be a
 * regular file and no symbolic link; NULL: no file. is_stdout: log lines go to standard output,
 * too. Refused: a second call, a file that cannot be opened.
 */
EBPF_API int bpf_tracer_init(const char* log_file, bool is_stdout);

/* Says that every tracer of the program has been started. Not required for anything. */
EBPF_API void bpf_tracer_finish(void);

/*
 * Attach to the running producer, or become one; adapt to the kernel. Blocks until that is
 * done. Afterwards the tracer is stopped: tracer_start() begins.
 *
 * callback: called for every record on one of thread_nr threads, for one socket always on the
 *   same one, in order. The header is a local copy; cap_data points at cap_len bytes in the
 *   ring, which must not be written to. Both are valid until it returns. It may block: then
 *   this program falls behind and loses its oldest records (user_enqueue_lost), nobody else
 *   does. A C++ exception that leaves it ends the program.
 * thread_nr: 1 to 64. Each takes one of the producer's consumer slots while the tracer runs
 *   (--max-consumers of ebpf-producer; by default two programs with 16 threads each find room
 *   beside 16 agents).
 * perf_pages_cnt: pages of each CPU's perf buffer; a power of two up to 65536.
 * ring_size: full-size records that the ring holds at least; a power of two, 2 to 16777216.
 * max_socket_entries, max_trace_entries: sockets, threads followed at once; 1 to 16777216.
 * socket_map_max_reclaim: sweep idle sockets when so many are followed; 1 to 16777216.
 * The five sizes are for the producer that the program becomes; one that runs already has its
 * own.
 *
 * Refused: before bpf_tracer_init(), after a call that succeeded, a NULL callback, a number
 * out of range. After a failure it may be called again.
 *
 * The original's Rust declaration has an eighth argument, log_file, which the original's C
 * function has not. It is harmless on x86-64 and AArch64: the caller passes it behind the
 * others and cleans up itself, and this function, which does not look, logs where
 * bpf_tracer_init() said.
 */
EBPF_API int running_socket_tracer(void (*callback)(SK_BPF_DATA*), int thread_nr,
                                   unsigned perf_pages_cnt, unsigned ring_size,
                                   unsigned max_socket_entries, unsigned max_trace_entries,
                                   unsigned socket_map_max_reclaim);

/*
 * Records flow from now on; earlier ones are not delivered. Attached to another's producer
 * this concerns this program's delivery only; a producer of its own begins to capture.
 * Refused: before running_socket_tracer() succeeded, while it runs already.
 */
EBPF_API int tracer_start(void);

/*
 * No more records. A producer of the program's own stops capturing, and what it had captured
 * is delivered first. When it returns no callback runs any more, unless it was called from
 * inside one, or one does not return within five seconds. Refused: while not running.
 */
EBPF_API int tracer_stop(void);

/* Where the tracer stands; all 0 (TRACER_INIT) before running_socket_tracer(). */
EBPF_API SK_TRACE_STATS socket_tracer_stats(void);

#ifdef __cplusplus
}
#endif
#endif

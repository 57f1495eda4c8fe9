/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer: read the trace of a running ebpf-producer, in place.
 *
 * A handle is used by one thread at a time. Nothing here needs a privilege beyond
 * access to the producer's socket. Every function that can fail returns a negative
 * errno value; 0 or a count otherwise. No function raises a signal or prints.
 *
 *   struct ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
 *   options.on_record = on_record;
 *   struct ebpf_consumer *consumer;
 *   int error = ebpf_consumer_open(&consumer, &options);
 *   while (error >= 0) error = ebpf_consumer_poll(consumer, -1);
 *   ebpf_consumer_close(consumer);
 *
 * In an event loop: watch ebpf_consumer_fd() for reading, and call
 * ebpf_consumer_poll(consumer, 0) until it returns 0 before each wait.
 */
#ifndef LIBEBPF_CONSUMER_H
#define LIBEBPF_CONSUMER_H

#include "ring_layout.h"

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

/* Opaque handle of one attachment. */
struct ebpf_consumer;

/*
 * A record. `record` and the payload behind it lie in the shared memory, read-only,
 * and stay unchanged until the callback returns, however long it takes; not longer.
 * Called on the thread that polls; it must not call back into the same handle, but
 * for ebpf_consumer_stats(). It may block: only this consumer falls behind.
 * Returns 0 to go on; anything else ends the poll after this record, which counts as
 * delivered.
 */
typedef int (*ebpf_record_fn)(const struct ebpf_record* record, uint32_t lane, void* user);

/*
 * A hole in the stream, told between the records that stand on its two sides. `gap` is
 * valid until the callback returns. gap->cause is EBPF_GAP_*; for LAPPED and CORRUPT
 * the count is this consumer's own loss, for the others it is everybody's. After
 * EBPF_GAP_RESTART records come from another epoch: socket and trace ids start anew,
 * sequence numbers too.
 */
typedef void (*ebpf_gap_fn)(const struct ebpf_gap* gap, uint32_t lane, void* user);

#define EBPF_FROM_TAIL 0u   /* only what is published from now on */
#define EBPF_FROM_OLDEST 1u /* also what the ring still holds */
#define EBPF_FROM_RESUME 2u /* where options.positions say that an earlier consumer stood */

/* flags */
#define EBPF_NO_REATTACH 1u /* the end of the producer ends the stream: poll gives -EPIPE */

/*
 * What a consumer wants to see. A record must pass every part that is set; one that does not
 * is skipped before the callback, and counted as filtered. Gap notices always come through.
 * Copied at open, the lists included.
 */
struct ebpf_filter {
  size_t size;                 /* sizeof(struct ebpf_filter) */
  uint32_t protocols;          /* EBPF_FILTER_HTTP1 | ...; 0: all */
  uint32_t directions;         /* EBPF_FILTER_SND | EBPF_FILTER_RCV; 0: both */
  uint32_t msg_types;          /* EBPF_FILTER_REQUEST | ...; 0: all */
  uint32_t process_count;      /* of process_ids, at most EBPF_FILTER_LIST_MAX; 0: all */
  const uint32_t* process_ids; /* a record's process_id must be one of them */
  const uint16_t* ports;       /* a record's remote or local port must be one of them */
  uint32_t port_count;         /* of ports, at most EBPF_FILTER_LIST_MAX; 0: all */
  uint32_t reserved;           /* 0 */
};

/* ebpf_filter.protocols: one bit for each SOCK_DATA_* */
#define EBPF_FILTER_UNKNOWN 0x01u
#define EBPF_FILTER_HTTP1 0x02u
#define EBPF_FILTER_HTTP2 0x04u
#define EBPF_FILTER_DUBBO 0x08u
#define EBPF_FILTER_MYSQL 0x10u
#define EBPF_FILTER_REDIS 0x20u
#define EBPF_FILTER_KAFKA 0x40u
#define EBPF_FILTER_DNS 0x80u
/* ebpf_filter.directions: 1 << SOCK_DIR_* */
#define EBPF_FILTER_SND 1u
#define EBPF_FILTER_RCV 2u
/* ebpf_filter.msg_types: 1 << MSG_* */
#define EBPF_FILTER_NO_TYPE 1u
#define EBPF_FILTER_REQUEST 2u
#define EBPF_FILTER_RESPONSE 4u

#define EBPF_FILTER_LIST_MAX 65536u

#ifdef __cplusplus
#define EBPF_FILTER_INIT \
  { sizeof(struct ebpf_filter) }
#else
#define EBPF_FILTER_INIT \
  { .size = sizeof(struct ebpf_filter) }
#endif

/*
 * Where a consumer stands in a lane: what ebpf_consumer_positions() gave, to be handed back
 * unchanged. Plain numbers, so that they can be kept in a file.
 */
struct ebpf_position {
  uint64_t epoch;
  uint64_t seq; /* of the data record that comes next */
  uint64_t segment;
  uint32_t offset;
  uint32_t lane;
};

struct ebpf_consumer_options {
  size_t size;             /* sizeof(struct ebpf_consumer_options) */
  const char* socket_path; /* NULL: $EBPF_SOCKET, else EBPF_SOCKET_DEFAULT */
  uint64_t lanes;          /* bit mask of the lanes to read; 0: all */
  uint32_t from;           /* EBPF_FROM_* */
  uint32_t flags;
  uint32_t spin_us; /* how long a blocking poll spins before it sleeps; 0: not */
  uint32_t reserved;
  const char* name;         /* shown to the operator, at most 15 bytes; NULL: the process name */
  ebpf_record_fn on_record; /* must not be NULL */
  ebpf_gap_fn on_gap;       /* may be NULL; gaps are counted all the same */
  void* user;               /* handed to the callbacks */
  /* Fields from here on came later: a caller whose size ends before them gets zeros. */
  const struct ebpf_filter* filter; /* NULL: every record */
  /*
   * EBPF_FROM_RESUME, else NULL and 0. What was published in between and is gone counts as
   * lost, exactly. A lane that has no position begins at its first record ever. When the
   * producer is another than that of the positions (their epoch), EBPF_GAP_RESTART is told,
   * and every lane begins at its first record.
   */
  const struct ebpf_position* positions;
  size_t position_count;
};

#ifdef __cplusplus
/* A function, because g++ -Wextra would name every member that a short list leaves out. */
static inline struct ebpf_consumer_options ebpf_consumer_options_init(void) {
  struct ebpf_consumer_options options = {};
  options.size = sizeof options;
  return options;
}
#define EBPF_CONSUMER_OPTIONS_INIT ebpf_consumer_options_init()
#else
#define EBPF_CONSUMER_OPTIONS_INIT \
  { .size = sizeof(struct ebpf_consumer_options) }
#endif

/*
 * Where this consumer stands. Sums over its lanes and over all epochs since open.
 * At any moment: published == delivered + filtered + lost + unread.
 */
struct ebpf_consumer_stats {
  size_t size;             /* in: sizeof(struct ebpf_consumer_stats); out: bytes filled */
  uint64_t epoch;          /* of the producer that it reads; 0: none at present */
  uint64_t published;      /* data records published since it joined */
  uint64_t delivered;      /* handed to on_record */
  uint64_t filtered;       /* skipped by the filter */
  uint64_t lost;           /* lapped, or unreadable */
  uint64_t unread;         /* still to come */
  uint64_t upstream_lost;  /* told by gap notices: lost before the ring, not in `published` */
  uint64_t gaps;           /* gap callbacks, or what they would have been */
  uint64_t sleeps;         /* times it went to sleep */
  uint64_t reattaches;     /* producers that it found again */
  uint32_t lane_count;     /* lanes that it reads */
  uint32_t consumer_id;    /* its id at the producer; 0: not attached */
  uint32_t last_end;       /* EBPF_END_*: why the last attachment ended */
  uint32_t last_end_errno; /* EBPF_END_DETACHED: the producer's reason */
};

/* ebpf_consumer_stats.last_end */
#define EBPF_END_NONE 0u     /* none has ended so far */
#define EBPF_END_ORDERLY 1u  /* the producer marked the ring as ended */
#define EBPF_END_HUNG_UP 2u  /* the connection was lost: the producer died, most likely */
#define EBPF_END_DETACHED 3u /* the producer detached this consumer, and told why */

/*
 * Attach to the producer at options->socket_path. On success *consumer is a handle that
 * the caller ends with ebpf_consumer_close(). Blocks for the connection only, at most a
 * second. Errors, with *consumer NULL:
 *   -EINVAL  options not usable (size, lanes, from, on_record, filter, positions)
 *   -ENOENT, -ECONNREFUSED  no producer there    -EACCES  not in the socket's group
 *   -EUSERS  all of its consumer slots are taken, or all that one user may have
 *   -EAGAIN  it is busy with too many joins, for the whole second: try again later
 *   -EPROTO  another protocol or layout version
 *   -EBADMSG its answer or its ring cannot be valid   others: as from socket, mmap …
 */
EBPF_API int ebpf_consumer_open(struct ebpf_consumer** consumer,
                                const struct ebpf_consumer_options* options);

/* Detach and free. NULL is allowed. Never blocks. Not from inside a callback. */
EBPF_API void ebpf_consumer_close(struct ebpf_consumer* consumer);

/*
 * Deliver what is there, waiting up to timeout_ms (0: not, -1: without limit) for the
 * first record. Returns the number of records delivered; 0: none in that time. A single
 * call delivers a bounded number of records (some thousand).
 * While the producer is gone it re-attaches by itself, and tells EBPF_GAP_RESTART.
 * Errors: -EPIPE  the producer is gone and EBPF_NO_REATTACH was asked for, everything
 * that it had published is delivered; or an operator evicted this consumer (its stats say
 * EBPF_END_DETACHED, ECANCELED);  -EINTR  a signal came before anything was
 * delivered;  -EBUSY  called from inside a callback.
 */
EBPF_API int ebpf_consumer_poll(struct ebpf_consumer* consumer, int timeout_ms);

/*
 * The descriptor for an event loop: readable when a poll has something to do. It stays
 * the same for the life of the handle, which owns it; watch it level-triggered, for
 * reading, and do nothing else with it. The producer rings only after an
 * ebpf_consumer_poll(consumer, 0) that returned 0.
 */
EBPF_API int ebpf_consumer_fd(const struct ebpf_consumer* consumer);

/*
 * Where the consumer stands: fills up to `capacity` positions, one for each lane that it
 * reads, and returns how many lanes there are; `positions` may be NULL if capacity is 0.
 * Inside on_record, the record at hand counts as read. From the polling thread.
 * To go on there with another handle: EBPF_FROM_RESUME.
 */
EBPF_API int ebpf_consumer_positions(const struct ebpf_consumer* consumer,
                                     struct ebpf_position* positions, size_t capacity);

/* A function and a struct of one name, as stat(2): g++ -Wshadow would complain. */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
/* Fill *stats as far as stats->size reaches. 0, or -EINVAL. From the polling thread. */
EBPF_API int ebpf_consumer_stats(const struct ebpf_consumer* consumer,
                                 struct ebpf_consumer_stats* stats);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/*
 * One line that says what the last failing call on this thread ran into, e.g. which
 * socket path was refused and why; "" if none failed. Valid until the next call.
 */
EBPF_API const char* ebpf_last_error(void);

/* "MAJOR.MINOR.PATCH" of the library that is linked. Static. */
EBPF_API const char* ebpf_version(void);

/* Payload of a data record: record->data.cap_len bytes, lifetime as the record's. */
static inline const uint8_t* ebpf_record_payload(const struct ebpf_record* record) {
  return (const uint8_t*)(record + 1);
}

#ifdef __cplusplus
}
#endif
#endif

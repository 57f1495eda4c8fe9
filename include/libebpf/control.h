/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol: fixed-size messages over a SOCK_SEQPACKET Unix socket, one
 * message per packet. docs/CONTROL.md tells who may send what.
 *
 * Every message starts with ebpf_msg_header. A receiver checks magic, version, the
 * type it can take, and that the packet is exactly as long as its type says; anything
 * else is answered with EBPF_MSG_ERROR and the connection is closed.
 * The producer identifies its peer by SO_PEERCRED, never by what a message says.
 */
#ifndef LIBEBPF_CONTROL_H
#define LIBEBPF_CONTROL_H

#include "ring_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EBPF_SOCKET_DEFAULT "/run/libebpf/producer.sock"
#define EBPF_SOCKET_ENV "EBPF_SOCKET"
#define EBPF_SOCKET_GROUP "libebpf" /* group of the socket, where it exists */

#define EBPF_MSG_MAGIC 0x4d504245u /* "EBPM" */
/*
 * Raised whenever a message that exists changes its size or its meaning; a new message raises
 * nothing. The sizes are pinned at the end of this file.
 */
#define EBPF_PROTOCOL_VERSION 2u

enum ebpf_msg_type {
  EBPF_MSG_ERROR = 1,         /* P → C: ebpf_msg_error */
  EBPF_MSG_JOIN = 2,          /* C → P: ebpf_msg_join */
  EBPF_MSG_JOINED = 3,        /* P → C: ebpf_msg_joined, with two descriptors */
  EBPF_MSG_DOORBELL = 4,      /* P → C: header only: look at the ring */
  EBPF_MSG_GET_STATS = 5,     /* C → P: header only */
  EBPF_MSG_STATS = 6,         /* P → C: ebpf_msg_stats */
  EBPF_MSG_START = 7,         /* C → P: header only; root or the producer's user */
  EBPF_MSG_STOP = 8,          /* C → P: header only; root or the producer's user */
  EBPF_MSG_OK = 9,            /* P → C: header only: START, STOP or EVICT done */
  EBPF_MSG_GET_OFFSETS = 10,  /* C → P: header only */
  EBPF_MSG_OFFSETS = 11,      /* P → C: ebpf_msg_offsets */
  EBPF_MSG_GET_RING = 12,     /* C → P: ebpf_msg_get_page: consumers of a higher id */
  EBPF_MSG_RING = 13,         /* P → C: ebpf_msg_ring */
  EBPF_MSG_GET_PROGRAMS = 14, /* C → P: ebpf_msg_get_page: from this index on */
  EBPF_MSG_PROGRAMS = 15,     /* P → C: ebpf_msg_programs */
  EBPF_MSG_GET_MAPS = 16,     /* C → P: ebpf_msg_get_page: from this index on */
  EBPF_MSG_MAPS = 17,         /* P → C: ebpf_msg_maps */
  EBPF_MSG_EVICT = 18,        /* C → P: ebpf_msg_evict; root or the producer's user */
};

struct ebpf_msg_header {
  uint32_t magic;        /* EBPF_MSG_MAGIC */
  uint16_t version;      /* EBPF_PROTOCOL_VERSION */
  uint16_t type;         /* enum ebpf_msg_type */
  uint32_t length_bytes; /* of the whole message, header included */
  uint32_t reserved;     /* 0 */
};

#define EBPF_ERROR_TEXT_BYTES 232
struct ebpf_msg_error {
  struct ebpf_msg_header header;
  int32_t error; /* positive errno value */
  uint32_t reserved;
  char text[EBPF_ERROR_TEXT_BYTES]; /* one line, NUL-terminated, printable ASCII */
};

/*
 * Ask for the ring. Answered by JOINED, or ERROR: EUSERS when all slots are taken, or all that
 * one user may have; EAGAIN when its user joins too fast: try again in a moment.
 */
struct ebpf_msg_join {
  struct ebpf_msg_header header;
  uint32_t layout_version; /* the only one that the consumer can read */
  uint32_t reserved;
  char name[EBPF_COMM_BYTES]; /* for people; the peer's pid comes from SO_PEERCRED */
};

/*
 * The answer. Two descriptors come with it (SCM_RIGHTS), in this order:
 *   0: the data memfd, read-only   1: this consumer's control page, read-write
 * The consumer picks its position itself, from what it sees in the ring. The slot is
 * held until the connection ends.
 */
struct ebpf_msg_joined {
  struct ebpf_msg_header header;
  uint64_t epoch;
  uint64_t data_bytes;    /* size of descriptor 0 */
  uint32_t control_bytes; /* size of descriptor 1: EBPF_CONTROL_BYTES */
  uint32_t consumer_id;   /* unique within the epoch, from 1 */
};

/* ebpf_msg_stats.attach */
#define EBPF_ATTACH_NONE 0u /* a replay: no kernel side */
#define EBPF_ATTACH_RAW 1u
#define EBPF_ATTACH_TRACEPOINT 2u
#define EBPF_ATTACH_DIRECT 3u /* raw, with direct loads of kernel memory */

/* ebpf_msg_stats.transport: what carries events out of the kernel */
#define EBPF_TRANSPORT_NONE 0u
#define EBPF_TRANSPORT_PERF 1u
#define EBPF_TRANSPORT_RINGBUF 2u

/* ebpf_msg_stats.offsets_source, ebpf_offset_entry.source */
#define EBPF_OFFSETS_NONE 0u
#define EBPF_OFFSETS_BTF 1u
#define EBPF_OFFSETS_FILE 2u
#define EBPF_OFFSETS_SEARCH 3u

/* ebpf_msg_stats.ring_pages */
#define EBPF_PAGES_PLAIN 0u
#define EBPF_PAGES_TRANSPARENT 1u /* transparent huge pages under at least some of it */
#define EBPF_PAGES_HUGETLB 2u

#define EBPF_NUMA_ANY UINT32_MAX

/* The protocols with a counter of their own, in this order: see ebpf_protocol_index(). */
#define EBPF_PROTOCOL_COUNT 8u

/* Counters only grow for the life of the epoch; reading resets nothing. */
struct ebpf_lane_stats {
  uint64_t enqueued; /* data records published */
  uint64_t dequeued; /* of those, how many at least one consumer has passed */
  uint64_t lost;     /* not published: no room */
  uint64_t bursts;   /* publishes of a whole burst (16 records) */
  uint64_t gaps;     /* gap notices published */
  uint64_t capacity; /* full-size records that the lane's window holds at least */
};

struct ebpf_msg_stats {
  struct ebpf_msg_header header;
  /* What runs. */
  uint64_t epoch;
  uint64_t uptime_us;
  uint32_t producer_pid;
  uint8_t is_adapt_success;
  uint8_t tracer_state;   /* TRACER_* of sock_data.h */
  uint8_t attach;         /* EBPF_ATTACH_* */
  uint8_t offsets_source; /* EBPF_OFFSETS_* */
  char bpf_file[128];     /* "(embedded)", a path, or "replay: PATH" */
  char kernel_release[64];
  /* Kernel side. */
  uint32_t perf_pages_count; /* per CPU */
  uint32_t cpu_count;        /* perf buffers */
  uint32_t kern_socket_map_max;
  uint32_t kern_socket_map_used;
  uint32_t kern_trace_map_max;
  uint32_t kern_trace_map_used;
  uint32_t socket_map_max_reclaim;
  uint32_t cap_bytes;
  uint64_t kern_emitted;         /* events that the kernel side decided to emit */
  uint64_t kern_lost;            /* of those: perf buffer full */
  uint64_t kern_socket_map_full; /* system calls skipped: socket map full */
  uint64_t kern_trace_map_full;  /* events with trace id 0: trace map full */
  uint64_t kern_unknown;         /* socket calls not captured: none of the protocols */
  uint64_t kern_bad_pointer;     /* payload could not be read */
  /* User side. */
  uint64_t user_enqueue_count; /* sums over the lanes */
  uint64_t user_dequeue_count;
  uint64_t user_enqueue_lost;
  uint64_t queue_burst_count;
  uint64_t mem_alloc_fail_count;
  uint64_t bad_events;          /* perf records that could not be valid */
  uint64_t late_events;         /* published behind a younger one, see docs/ARCHITECTURE.md */
  uint64_t replayed;            /* records read from the replay file */
  uint64_t undelivered;         /* what consumers that died had not read yet */
  uint64_t wakeups;             /* of sleeping consumers */
  uint64_t connections_refused; /* too many, or too fast */
  uint64_t joins_refused;       /* too fast, or no slot, or none for this user */
  uint64_t evicted; /* consumers that were detached: by an operator, or for what they sent */
  uint64_t protocol[EBPF_PROTOCOL_COUNT]; /* records published, by ebpf_protocol_index() */
  uint32_t lane_count;
  uint32_t consumer_count;
  uint32_t max_consumers;
  uint32_t window_segments;
  uint64_t segment_bytes;
  /* Socket calls that a filter of the options kept out, by cause. */
  uint64_t kern_filtered_port;
  uint64_t kern_filtered_pid;
  uint64_t kern_filtered_name;
  uint64_t kern_skipped;    /* runs of the programs that the kernel left out: each may have been
                               one record less */
  uint32_t capture_unknown; /* what is none of the protocols is delivered, too */
  uint32_t protocols;       /* those recognised: bit ebpf_protocol_index() */
  char filters[256];        /* the filters in words, cut off with "..."; "": none */
  uint64_t ring_bytes;      /* of the data memory */
  uint32_t ring_pages;      /* EBPF_PAGES_*: what it lies on */
  uint32_t ring_prefault;   /* 1: all of it was there from the start */
  uint32_t ring_numa_node;  /* that it is bound to, or EBPF_NUMA_ANY */
  uint32_t transport;       /* EBPF_TRANSPORT_* */
  struct ebpf_lane_stats lanes[EBPF_LANES_MAX];
};

/* One row of the offsets table. */
struct ebpf_offset_entry {
  char name[40];   /* e.g. "task_struct.files" */
  uint32_t offset; /* bytes */
  uint8_t source;  /* EBPF_OFFSETS_* */
  uint8_t reserved[3];
};
#define EBPF_OFFSET_ENTRIES_MAX 40u
struct ebpf_msg_offsets {
  struct ebpf_msg_header header;
  uint32_t cpu_count;
  uint32_t entry_count;
  struct ebpf_offset_entry entries[EBPF_OFFSET_ENTRIES_MAX];
};

/*
 * Lists come in pages: the answer holds what comes after `from`, and says in `more` how much is
 * left; the next page is asked for with the last row's id, or index + 1.
 */
struct ebpf_msg_get_page {
  struct ebpf_msg_header header;
  uint32_t from; /* 0: the first page */
  uint32_t reserved;
};

/* ebpf_consumer_row.state */
#define EBPF_CONSUMER_AWAKE 0u
#define EBPF_CONSUMER_ASLEEP 1u  /* waits to be woken: it has read everything */
#define EBPF_CONSUMER_STOPPED 2u /* its process is stopped: SIGSTOP, a debugger */
#define EBPF_CONSUMER_LAPPED 3u  /* what it would read next is gone from the window */

#define EBPF_ROWS_PER_PAGE 16u
#define EBPF_UNKNOWN UINT64_MAX

/*
 * One consumer. The counts are its own word (its control page), made to add up:
 * published == delivered + filtered + lost + unread, over the lanes that it reads.
 */
struct ebpf_consumer_row {
  uint32_t id;
  int32_t pid; /* of the process that joined, from SO_PEERCRED */
  uint32_t uid;
  uint32_t state;                /* EBPF_CONSUMER_* */
  char name[EBPF_COMM_BYTES];    /* as it called itself; printable */
  char process[EBPF_COMM_BYTES]; /* comm of the process, any bytes; "": not known */
  uint64_t attached_us;          /* for so long */
  uint64_t lanes;                /* bit mask of those that it reads */
  uint64_t position;             /* records of these lanes that are behind it */
  uint64_t published;            /* since it joined */
  uint64_t delivered;
  uint64_t filtered;
  uint64_t lost;
  uint64_t unread;
  uint64_t lag_us; /* since the record that it reads next was published; 0: none waits */
  uint64_t wakeups;
};

/* The ring, and a page of its consumers, by id. */
struct ebpf_msg_ring {
  struct ebpf_msg_header header;
  uint64_t epoch;
  uint64_t window_records; /* that are in the ring now */
  uint64_t window_bytes;   /* that a window holds, all lanes together */
  uint64_t window_us;      /* for so long it holds them at the present rate; or EBPF_UNKNOWN */
  uint64_t records_per_s;  /* published, over the last second or so */
  uint64_t bytes_per_s;
  uint32_t lane_count;
  uint32_t window_segments; /* of a lane */
  uint32_t segment_bytes;
  uint32_t block_count;
  uint32_t parked_blocks; /* retired, and still pinned by a consumer */
  uint32_t consumer_count;
  uint32_t max_consumers;
  uint32_t row_count;
  uint32_t more; /* consumers behind these rows */
  uint32_t reserved;
  struct ebpf_consumer_row rows[EBPF_ROWS_PER_PAGE];
};

/* ebpf_msg_programs.statistics */
#define EBPF_STATISTICS_ON 0u          /* runs are counted while this connection is open */
#define EBPF_STATISTICS_NOT_ALLOWED 1u /* only root and the producer's user may have them on */
#define EBPF_STATISTICS_NONE 2u        /* the kernel or its rights do not let the producer */

/* A BPF program. Its counters grow while somebody looks. */
struct ebpf_program_row {
  char name[32];
  char attached_to[64]; /* the first hook, or "tail call"; "": not attached now */
  uint32_t hooks;       /* how many there are */
  uint32_t instructions;
  uint64_t runs;
  uint64_t run_ns;
  uint64_t misses; /* runs left out: it ran already on that CPU */
};

struct ebpf_msg_programs {
  struct ebpf_msg_header header;
  uint32_t row_count;
  uint32_t more;
  uint32_t statistics; /* EBPF_STATISTICS_* */
  uint32_t reserved;
  struct ebpf_program_row rows[EBPF_ROWS_PER_PAGE];
};

struct ebpf_map_row {
  char name[32];
  uint32_t type; /* enum bpf_map_type of the kernel */
  uint32_t key_bytes;
  uint32_t value_bytes;
  uint32_t max_entries;
  uint64_t used;         /* entries; or EBPF_UNKNOWN */
  uint64_t memory_bytes; /* as the kernel charges it; or EBPF_UNKNOWN */
};

struct ebpf_msg_maps {
  struct ebpf_msg_header header;
  uint32_t row_count;
  uint32_t more;
  struct ebpf_map_row rows[EBPF_ROWS_PER_PAGE];
};

/* Detach a consumer. It is told so (ECANCELED), and its library does not come back by itself. */
struct ebpf_msg_evict {
  struct ebpf_msg_header header;
  uint32_t consumer_id;
  uint32_t reserved;
};

EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_header) == 16, "ebpf_msg_header");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_error) == 256, "ebpf_msg_error");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_join) == 40, "ebpf_msg_join");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_joined) == 40, "ebpf_msg_joined");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_lane_stats) == 48, "ebpf_lane_stats");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_offset_entry) == 48, "ebpf_offset_entry");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_stats) == 3896, "ebpf_msg_stats");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_offsets) == 1944, "ebpf_msg_offsets");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_get_page) == 24, "ebpf_msg_get_page");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_consumer_row) == 128, "ebpf_consumer_row");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_ring) == 104 + 16 * 128, "ebpf_msg_ring");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_program_row) == 128, "ebpf_program_row");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_programs) == 32 + 16 * 128, "ebpf_msg_programs");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_map_row) == 64, "ebpf_map_row");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_maps) == 24 + 16 * 64, "ebpf_msg_maps");
EBPF_STATIC_ASSERT(sizeof(struct ebpf_msg_evict) == 24, "ebpf_msg_evict");

/* Index of a SOCK_DATA_* value in ebpf_msg_stats.protocol; what is not known counts as 0. */
static inline uint32_t ebpf_protocol_index(uint16_t l7_protocol) {
  switch (l7_protocol) {
    case SOCK_DATA_HTTP1:
      return 1;
    case SOCK_DATA_HTTP2:
      return 2;
    case SOCK_DATA_DUBBO:
      return 3;
    case SOCK_DATA_MYSQL:
      return 4;
    case SOCK_DATA_REDIS:
      return 5;
    case SOCK_DATA_KAFKA:
      return 6;
    case SOCK_DATA_DNS:
      return 7;
    default:
      return 0;
  }
}

/* Name of a SOCK_DATA_* value as every tool spells it; "Unknown" for all others. */
static inline const char* ebpf_protocol_name(uint16_t l7_protocol) {
  static const char* const names[EBPF_PROTOCOL_COUNT] = {"Unknown", "HTTP",  "HTTP2", "Dubbo",
                                                         "MySQL",   "Redis", "Kafka", "DNS"};
  return names[ebpf_protocol_index(l7_protocol)];
}

#ifdef __cplusplus
}
#endif
#endif

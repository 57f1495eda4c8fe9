/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public headers and the whole API from strict C11: it compiles, links, and says the
 * right thing where no producer is.
 */
#include <errno.h>
#include <libebpf/consumer.h>
#include <libebpf/control.h>
#include <libebpf/ring_layout.h>
#include <libebpf/shm_atomic.h>
#include <libebpf/sock_data.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  ++failures;
}
#define CHECK(condition) check((condition), #condition)

static int on_record(const struct ebpf_record* record, uint32_t lane, void* user) {
  uint64_t* sum = user;
  *sum += record->data.cap_len + lane + ebpf_record_payload(record)[0];
  return 0;
}

static void on_gap(const struct ebpf_gap* gap, uint32_t lane, void* user) {
  uint64_t* sum = user;
  *sum += gap->count + lane;
}

static void refuses_without_a_producer(void) {
  uint64_t sum = 0;
  struct ebpf_consumer* consumer = NULL;
  struct ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
  options.socket_path = "/nonexistent/producer.sock";
  options.from = EBPF_FROM_OLDEST;
  options.flags = EBPF_NO_REATTACH;
  options.on_record = on_record;
  options.on_gap = on_gap;
  options.user = &sum;
  CHECK(ebpf_consumer_open(&consumer, &options) == -ENOENT);
  CHECK(consumer == NULL);
  CHECK(strstr(ebpf_last_error(), "/nonexistent/producer.sock") != NULL);
  options.size = 1;
  CHECK(ebpf_consumer_open(&consumer, &options) == -EINVAL);
}

static void takes_no_handle_for_a_mistake(void) {
  struct ebpf_consumer_stats stats = {sizeof(struct ebpf_consumer_stats)};
  CHECK(ebpf_consumer_poll(NULL, 0) == -EINVAL);
  CHECK(ebpf_consumer_fd(NULL) == -EINVAL);
  CHECK(ebpf_consumer_stats(NULL, &stats) == -EINVAL);
  ebpf_consumer_close(NULL);
}

/* The callbacks and the inline helpers, on memory of our own. */
static void reads_a_record(void) {
  union {
    struct ebpf_record record;
    uint8_t bytes[sizeof(struct ebpf_record) + 8];
  } memory;
  struct ebpf_gap gap = {sizeof(struct ebpf_gap), EBPF_RECORD_GAP, 0, 0, 5, 0, EBPF_GAP_LAPPED, 0};
  uint64_t sum = 0;
  memset(&memory, 0, sizeof memory);
  memory.record.data.cap_len = 7;
  memory.bytes[sizeof(struct ebpf_record)] = 'G';
  CHECK(on_record(&memory.record, 2, &sum) == 0);
  on_gap(&gap, 1, &sum);
  CHECK(sum == 7 + 2 + 'G' + 5 + 1);
  CHECK(ebpf_record_bytes(7) == sizeof(struct ebpf_record) + 8);
  CHECK(strcmp(ebpf_protocol_name(SOCK_DATA_HTTP1), "HTTP") == 0);
  CHECK(strcmp(ebpf_protocol_name(4711), "Unknown") == 0);
  CHECK(ebpf_lane_of(12345, 4) < 4);
  CHECK(shm_load_acquire_u64(&sum) == sum);
}

int main(void) {
  CHECK(strcmp(ebpf_last_error(), "") == 0);
  CHECK(strchr(ebpf_version(), '.') != NULL);
  refuses_without_a_producer();
  takes_no_handle_for_a_mistake();
  reads_a_record();
  return failures == 0 ? 0 : 1;
}

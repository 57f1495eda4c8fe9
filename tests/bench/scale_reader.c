/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer of scale_bench that does little: it looks at each record and counts it. The producer
 * knows what it got. Ends with its standard input.
 *
 *   scale_reader SOCKET
 */
#include <libebpf/consumer.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static int on_record(const struct ebpf_record* record, uint32_t lane, void* user) {
  (void)lane;
  *(volatile uint64_t*)user += record->data.cap_len;
  return 0;
}

int main(int argc, char** argv) {
  uint64_t bytes = 0;
  struct ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
  struct ebpf_consumer* consumer;
  struct pollfd input = {.fd = 0, .events = POLLIN};
  int error;
  if (argc != 2) return 2;
  options.socket_path = argv[1];
  options.on_record = on_record;
  options.user = &bytes;
  error = ebpf_consumer_open(&consumer, &options);
  if (error < 0) {
    fprintf(stderr, "scale_reader: %s\n", strerror(-error));
    return 1;
  }
  while (poll(&input, 1, 0) == 0 && error >= 0) error = ebpf_consumer_poll(consumer, 200);
  ebpf_consumer_close(consumer);
  return error < 0;
}

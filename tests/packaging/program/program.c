/* SPDX-License-Identifier: Apache-2.0 */
#include <libebpf/consumer.h>
#include <libebpf/tracer.h>
#include <stdio.h>

int main(void) {
  /* Refused, because nothing has been set up: the library was reached. */
  if (tracer_start() == 0) return 1;
  printf("%s\n", ebpf_version());
  return 0;
}

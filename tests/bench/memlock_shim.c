// SPDX-License-Identifier: Apache-2.0
// For bpftrace alone, by LD_PRELOAD. It ends where RLIMIT_MEMLOCK may not be raised, though Linux
// has counted BPF memory by control group since 5.11 and asks for that limit no more. Where the
// limit can be raised, it is.
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit* limit) {
  const long done = syscall(SYS_prlimit64, 0, (int)resource, limit, NULL);
  return resource == RLIMIT_MEMLOCK ? 0 : (int)done;
}

// Of the same layout on 64-bit machines.
int setrlimit64(__rlimit_resource_t resource, const struct rlimit64* limit) {
  return setrlimit(resource, (const struct rlimit*)limit);
}

// SPDX-License-Identifier: Apache-2.0
#include "producer/bpf_rights.h"

#include <bpf/bpf.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace ebpf {
namespace {

constexpr int kCapSysAdmin = 21;
constexpr int kCapPerfmon = 38;
constexpr int kCapBpf = 39;
constexpr int kVersionWithCapBpf = 5008;
constexpr int kVersionWithoutMemlock = 5011;

uint64_t effective_capabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    unsigned long long mask;
    if (std::sscanf(line.c_str(), "CapEff: %llx", &mask) == 1) return mask;
  }
  return 0;
}

std::string missing_capabilities() {
  const uint64_t caps = effective_capabilities();
  const auto has = [caps](int cap) { return (caps >> cap & 1) != 0; };
  if (has(kCapSysAdmin)) return {};
  if (kernel_version() < kVersionWithCapBpf) return "CAP_SYS_ADMIN";
  if (!has(kCapBpf) && !has(kCapPerfmon)) return "CAP_BPF and CAP_PERFMON";
  if (!has(kCapBpf)) return "CAP_BPF";
  if (!has(kCapPerfmon)) return "CAP_PERFMON";
  return {};
}

// The level in force, e.g. "integrity"; empty where there is no lockdown.
std::string lockdown_level() {
  std::ifstream file("/sys/kernel/security/lockdown");
  std::string line;
  std::getline(file, line);
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  const std::string level = line.substr(open + 1, close - open - 1);
  return level == "none" ? std::string() : level;
}

}  // namespace

int kernel_version() {
  utsname name;
  int major = 0;
  int minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return 0;
  return major * 1000 + minor;
}

void raise_memlock_limit(const LogSink& log) {
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0) return;
  const std::string why = std::strerror(errno);
  rlimit now = {};
  getrlimit(RLIMIT_MEMLOCK, &now);
  const bool is_needed = kernel_version() < kVersionWithoutMemlock;
  log(is_needed ? LogLevel::kWarn : LogLevel::kDebug,
      "cannot raise RLIMIT_MEMLOCK from " + std::to_string(now.rlim_cur) + " bytes: " + why +
          "; needed only before Linux 5.11");
}

std::string explain_refusal(int code) {
  if (code == ENOSYS) return "this kernel has no bpf() system call (CONFIG_BPF_SYSCALL)";
  if (const std::string missing = missing_capabilities(); !missing.empty()) {
    return "this process lacks " + missing + " (run as root, or grant them)";
  }
  if (const std::string level = lockdown_level(); !level.empty()) {
    return "the kernel is locked down (" + level + ", see /sys/kernel/security/lockdown)";
  }
  if (code != EPERM) return {};
  if (kernel_version() < kVersionWithoutMemlock) {
    return "RLIMIT_MEMLOCK is too small, or a security module or seccomp filter forbids it";
  }
  return "a security module, seccomp filter or container forbids it";
}

Result<> check_bpf_rights() {
  if (!missing_capabilities().empty()) {
    return errno_error("may not use BPF; " + explain_refusal(EPERM), EPERM);
  }
  const int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, nullptr, 4, 8, 1, nullptr);
  if (fd >= 0) {
    close(fd);
    return Unit{};
  }
  Error error = errno_error("the kernel refuses BPF", -fd);
  const std::string why = explain_refusal(error.code);
  if (!why.empty()) error.message += "; " + why;
  return error;
}

}  // namespace ebpf

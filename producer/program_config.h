// SPDX-License-Identifier: Apache-2.0
// The programs' configuration, and what of it changes while they run.
#pragma once

#include <mutex>

#include "bpf/kernel_abi.h"
#include "libebpf/detail/result.h"

namespace ebpf {

class ProgramConfig {
 public:
  ProgramConfig() = default;
  ProgramConfig(const ProgramConfig&) = delete;
  ProgramConfig& operator=(const ProgramConfig&) = delete;
  ~ProgramConfig();

  // `map_fd` is config_map, filled. It is mapped where its flags allow that.
  Result<> open(int map_fd);

  Result<> set_enabled(bool enabled);

  // Whether the next event wakes user space. The programs clear it when they do. What is read
  // of a buffer afterwards is no older than the change. Any thread.
  void set_asleep(bool asleep);

 private:
  Result<> write();  // the whole of it, where it is not mapped

  int map_fd_ = -1;
  std::mutex mutex_;
  tracer_config config_ = {};
  tracer_config* mapped_ = nullptr;
};

}  // namespace ebpf

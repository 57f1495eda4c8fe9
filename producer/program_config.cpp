// SPDX-License-Identifier: Apache-2.0
#include "producer/program_config.h"

#include <bpf/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "producer/shm_atomics.h"

namespace ebpf {

ProgramConfig::~ProgramConfig() {
  if (mapped_ != nullptr) munmap(mapped_, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

Result<> ProgramConfig::open(int map_fd) {
  map_fd_ = map_fd;
  const uint32_t key = 0;
  if (const int error = bpf_map_lookup_elem(map_fd_, &key, &config_); error != 0) {
    return errno_error("cannot read the configuration of the BPF programs", -error);
  }
  bpf_map_info info = {};
  uint32_t info_bytes = sizeof(info);
  const bool mappable = bpf_obj_get_info_by_fd(map_fd_, &info, &info_bytes) == 0 &&
                        (info.map_flags & BPF_F_MMAPABLE) != 0;
  if (!mappable) return Unit{};
  void* page = mmap(nullptr, static_cast<size_t>(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_WRITE,
                    MAP_SHARED, map_fd_, 0);
  if (page != MAP_FAILED) mapped_ = static_cast<tracer_config*>(page);
  return Unit{};
}

Result<> ProgramConfig::write() {
  const uint32_t key = 0;
  const int error = bpf_map_update_elem(map_fd_, &key, &config_, BPF_ANY);
  if (error == 0) return Unit{};
  return errno_error("cannot switch the BPF programs", -error);
}

Result<> ProgramConfig::set_enabled(bool enabled) {
  const std::lock_guard lock(mutex_);
  config_.enabled = enabled;
  if (mapped_ == nullptr) return write();
  __atomic_store_n(&mapped_->enabled, config_.enabled, __ATOMIC_SEQ_CST);
  return Unit{};
}

void ProgramConfig::set_asleep(bool asleep) {
  if (mapped_ != nullptr) {
    __atomic_store_n(&mapped_->asleep, asleep ? 1u : 0u, __ATOMIC_SEQ_CST);
    ShmAtomics::full_barrier();
    return;
  }
  const std::lock_guard lock(mutex_);
  config_.asleep = asleep;
  (void)write();  // user space looks in now and then all the same
}

}  // namespace ebpf

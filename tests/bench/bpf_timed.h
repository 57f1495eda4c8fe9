// SPDX-License-Identifier: Apache-2.0
// The run time of BPF programs, as the kernel counts it. A program is run by a system call made for
// that (Linux 5.10 and later), with the registers of a call that seems to have ended, over the real
// task and its real descriptors. Nothing is attached, so no other process's calls come in between.
#pragma once

#include <bpf/libbpf.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ended_call.h"
#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/bpf_loader.h"
#include "producer/event_rings.h"

namespace ebpf::bench {

struct BackEnd {
  const char* name;
  const char* object;  // file name without its end
  uint32_t attach_kind;
  TransportMode transport;
};

// A program by itself: fixed work to compare with, or none at all.
class PlainProgram {
 public:
  static Result<PlainProgram> empty();
  static Result<PlainProgram> reference();
  // Nanoseconds per run.
  Result<double> time(uint32_t runs) const;

 private:
  UniqueFd map_;
  UniqueFd program_;
};

// The programs of one back end, loaded as the producer loads them.
class TimedPrograms {
 public:
  static Result<std::unique_ptr<TimedPrograms>> load(const std::string& folder,
                                                     const BackEnd& back_end,
                                                     const offsets_table& offsets);
  TimedPrograms(const TimedPrograms&) = delete;
  ~TimedPrograms();

  // By the process that makes the calls: perf buffers are not inherited.
  Result<> open_buffers();
  // The programs that this call passes through, in order: "enter", "exit", "gather" …
  Result<std::vector<std::string>> path_of(const EndedCall& call);
  // The first `depth` programs of the path, all others being left out: nanoseconds per call.
  // `fresh`: the socket that is a new one for each call, or 0.
  Result<double> time(const EndedCall& call, const std::vector<std::string>& path, size_t depth,
                      uint32_t runs, ino_t fresh);
  Result<> run(const EndedCall& call, uint32_t runs);
  void forget_socket(ino_t inode);
  // Events since the last look.
  uint32_t take_events();

 private:
  struct PerfBufferDeleter {
    void operator()(perf_buffer* buffer) const { perf_buffer__free(buffer); }
  };

  TimedPrograms() = default;
  Result<> build(const std::string& folder, const BackEnd& back_end, const offsets_table& offsets);
  Result<> make_registers();
  Result<> enable();
  bool is_tracepoint() const;
  int program_fd(const std::string& name) const;
  Result<> set_stages(const std::vector<std::string>& names);
  Result<bool> reaches(const EndedCall& call, const std::string& stage);
  Result<> set_registers(const EndedCall& call) const;
  Result<> run_once(const EndedCall& call);

  TracerOptions options_;
  uint32_t attach_kind_ = 0;
  BpfObject object_;
  std::vector<CpuBuffer> buffers_;
  EventRings rings_;
  std::unique_ptr<perf_buffer, PerfBufferDeleter> perf_buffer_;
  int chained_[4] = {};        // by stage: the program's fd
  UniqueFd registers_;         // map: struct pt_regs, and a word that the probe writes
  UniqueFd probe_;             // program: says that it was run
  uint64_t registers_at_ = 0;  // in the kernel
};

// Whether programs can be run and timed like that here.
Result<UniqueFd> begin_timing();

}  // namespace ebpf::bench

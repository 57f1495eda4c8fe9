// SPDX-License-Identifier: Apache-2.0
#include "trace_subjects.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "libebpf/detail/unique_fd.h"

namespace ebpf::bench {
namespace {

class Untraced : public Subject {
 public:
  Untraced() : Subject("untraced") {}
  Result<> start(pid_t) override { return Unit{}; }
  Result<PipelineRun> stop() override { return PipelineRun{}; }
};

// Programs that return at once: what the hooks alone cost.
class EmptyPrograms : public Subject {
 public:
  EmptyPrograms(UniqueFd program, bool with_enter)
      : Subject(with_enter ? "empty programs, begin and end" : "empty program, end of call"),
        program_(std::move(program)),
        with_enter_(with_enter) {}

  Result<> start(pid_t) override {
    for (const char* hook : {"sys_exit", "sys_enter"}) {
      if (!with_enter_ && links_.size() == 1) break;
      links_.emplace_back(bpf_raw_tracepoint_open(hook, program_.get()));
      if (links_.back().get() < 0) return errno_error(std::string("cannot attach to ") + hook);
    }
    return Unit{};
  }
  Result<PipelineRun> stop() override {
    links_.clear();
    return PipelineRun{};
  }

 private:
  UniqueFd program_;
  bool with_enter_;
  std::vector<UniqueFd> links_;
};

class OurTracer : public Subject {
 public:
  OurTracer(const std::string& name, std::unique_ptr<Pipeline> pipeline)
      : Subject(name), pipeline_(std::move(pipeline)) {}
  Result<> start(pid_t) override { return pipeline_->start(); }
  Result<PipelineRun> stop() override { return pipeline_->stop(); }

 private:
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace

std::unique_ptr<Subject> untraced() { return std::make_unique<Untraced>(); }

Result<std::unique_ptr<Subject>> empty_programs(bool with_enter) {
  const bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
                           {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  UniqueFd program(
      bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "empty", "GPL", code, std::size(code), nullptr));
  if (program.get() < 0) return errno_error("cannot load an empty program");
  return std::unique_ptr<Subject>(new EmptyPrograms(std::move(program), with_enter));
}

Result<std::unique_ptr<Subject>> our_tracer(const std::string& name, const TracerOptions& options) {
  auto pipeline = Pipeline::open(options);
  if (!pipeline) return pipeline.error();
  return std::unique_ptr<Subject>(new OurTracer(name, std::move(*pipeline)));
}

void mount_tracefs() {
  if (access("/sys/kernel/tracing/events", F_OK) == 0 || unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/sys", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return;
  }
  (void)mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr);
  (void)mount("debugfs", "/sys/kernel/debug", "debugfs", 0, nullptr);
}

}  // namespace ebpf::bench

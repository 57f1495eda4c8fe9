// SPDX-License-Identifier: Apache-2.0
// What trace_bench compares: nothing, empty programs, our back ends, and what people would use
// instead.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "trace_pipeline.h"

namespace ebpf::bench {

class Subject {
 public:
  explicit Subject(std::string name) : name_(std::move(name)) {}
  virtual ~Subject() = default;

  const std::string& name() const { return name_; }
  // Tells what the process `pid` does from now on, until stop().
  virtual Result<> start(pid_t pid) = 0;
  virtual Result<PipelineRun> stop() = 0;
  // How many times less is to be done, as it takes so long.
  virtual uint32_t patience() const { return 1; }
  // Writes a /dev/null or asks for a uid: is that of interest?
  virtual bool sees_other_calls() const { return true; }

 private:
  std::string name_;
};

using Subjects = std::vector<std::unique_ptr<Subject>>;

// Reasons of those that cannot run here go to *missing, by name.
struct MissingSubject {
  std::string name;
  std::string why;
};

std::unique_ptr<Subject> untraced();
// `with_enter`: on the begin of calls as well.
Result<std::unique_ptr<Subject>> empty_programs(bool with_enter);
Result<std::unique_ptr<Subject>> our_tracer(const std::string& name, const TracerOptions& options);
// tcpdump, bpftrace, strace; their output goes to /dev/null and files in `directory`.
Result<std::unique_ptr<Subject>> other_tool(const std::string& name, const std::string& directory);

// A private tracefs, where none is mounted; bpftrace and our tracepoints need one.
void mount_tracefs();

}  // namespace ebpf::bench

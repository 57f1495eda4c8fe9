// SPDX-License-Identifier: Apache-2.0
// ebpfctl check: would the tracer run here? Looks, and changes nothing.
#include <bpf/libbpf.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "ctl/command.h"
#include "ctl/format.h"
#include "producer/attach.h"
#include "producer/bpf_rights.h"

namespace ebpf::ctl {
namespace {

// Also the exit code: the worst of all findings.
enum Verdict { kFine = 0, kDegraded = 1, kMissing = 2 };

struct Finding {
  const char* name;
  Verdict verdict;
  std::string text;  // what is there, and what to do where it is not enough
};

constexpr int kVersionFloor = 4014;
constexpr int kVersionRawTracepoints = 4017;
constexpr int kVersionWithoutMemlock = 5011;

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Finding check_kernel() {
  utsname name = {};
  uname(&name);
  const std::string text = std::string(name.release) + " " + name.machine;
  if (kernel_version() >= kVersionFloor) return {"Kernel", kFine, text};
  return {"Kernel", kMissing, text + "; Linux 4.14 or later is needed"};
}

Finding check_bpf() {
  auto allowed = check_bpf_rights();
  if (allowed) return {"BPF system call", kFine, "allowed"};
  return {"BPF system call", kMissing, allowed.error().message};
}

Finding check_jit() {
  const std::string value = first_line("/proc/sys/net/core/bpf_jit_enable");
  if (value == "1") return {"JIT", kFine, "on"};
  if (value == "2")
    return {"JIT", kDegraded, "on, and logs code; sysctl net.core.bpf_jit_enable=1"};
  if (value == "0") {
    return {"JIT", kDegraded, "off, so that tracing costs more; sysctl net.core.bpf_jit_enable=1"};
  }
  // The file is root's alone on some kernels.
  return {"JIT", kFine, "not known (/proc/sys/net/core/bpf_jit_enable cannot be read)"};
}

Finding check_btf() {
  if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
    return {"BTF", kFine, "/sys/kernel/btf/vmlinux"};
  return {"BTF", kDegraded,
          "no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF); offsets are searched for at the "
          "start, or taken from --btf FILE"};
}

bool has_raw_tracepoints(bool may_use_bpf) {
  if (!may_use_bpf) return kernel_version() >= kVersionRawTracepoints;
  return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_RAW_TRACEPOINT, nullptr) == 1;
}

// One of the two back ends is enough; raw tracepoints are the cheaper one.
void check_back_ends(bool may_use_bpf, std::vector<Finding>& findings) {
  const bool raw = has_raw_tracepoints(may_use_bpf);
  auto tracefs = check_tracefs();
  if (raw) {
    findings.push_back({"Raw tracepoints", kFine, "there"});
  } else {
    findings.push_back({"Raw tracepoints", tracefs ? kDegraded : kMissing,
                        "none (Linux 4.17); the tracepoints of each system call, which cost more, "
                        "are needed"});
  }
  if (tracefs) {
    findings.push_back({"Tracepoints", kFine, "there"});
  } else {
    findings.push_back({"Tracepoints", raw ? kDegraded : kMissing,
                        tracefs.error().message + (raw ? "; only --attach=raw works" : "")});
  }
}

Finding check_perf_output(bool may_use_bpf) {
  if (!may_use_bpf) return {"Perf buffers", kDegraded, "not known without the right to use BPF"};
  const int there = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_PERF_EVENT_ARRAY, nullptr);
  if (there == 1) return {"Perf buffers", kFine, "there"};
  return {"Perf buffers", kMissing, "none (CONFIG_PERF_EVENTS)"};
}

Finding check_lockdown() {
  const std::string line = first_line("/sys/kernel/security/lockdown");
  if (line.find("[confidentiality]") == std::string::npos) {
    return {"Lockdown", kFine, line.empty() ? "none" : line};
  }
  return {"Lockdown", kMissing,
          line + "; memory of the kernel cannot be read: boot without lockdown=confidentiality"};
}

Finding check_memlock() {
  if (kernel_version() >= kVersionWithoutMemlock) {
    return {"Locked memory", kFine, "BPF is not charged to RLIMIT_MEMLOCK"};
  }
  rlimit now = {};
  getrlimit(RLIMIT_MEMLOCK, &now);
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  const bool can_raise = setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0;
  if (can_raise) return {"Locked memory", kFine, "unlimited"};
  return {"Locked memory", kMissing,
          "RLIMIT_MEMLOCK is " + std::to_string(now.rlim_cur) +
              " bytes; raise it (LimitMEMLOCK=infinity), or run as root"};
}

std::vector<Finding> look() {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  std::vector<Finding> findings = {check_kernel(), check_bpf()};
  const bool may_use_bpf = findings.back().verdict == kFine;
  findings.push_back(check_jit());
  findings.push_back(check_btf());
  check_back_ends(may_use_bpf, findings);
  findings.push_back(check_perf_output(may_use_bpf));
  findings.push_back(check_lockdown());
  findings.push_back(check_memlock());
  return findings;
}

const char* name_of(Verdict verdict) {
  return verdict == kFine ? "ok" : verdict == kDegraded ? "degraded" : "missing";
}

const char* summary_of(Verdict worst) {
  return worst == kFine       ? "The tracer runs here."
         : worst == kDegraded ? "The tracer runs here, with the limits above."
                              : "The tracer does not run here.";
}

std::string as_text(const std::vector<Finding>& findings, Verdict worst) {
  std::string out;
  for (const Finding& finding : findings) {
    std::string line = finding.name;
    line.resize(17, ' ');
    std::string verdict = name_of(finding.verdict);
    verdict.resize(10, ' ');
    out += line + verdict + escape(finding.text) + "\n";
  }
  return out + "\n" + summary_of(worst) + "\n";
}

std::string as_json(const std::vector<Finding>& findings, Verdict worst) {
  nlohmann::ordered_json json;
  json["schema_version"] = kSchemaVersion;
  json["verdict"] = name_of(worst);
  json["checks"] = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    json["checks"].push_back({{"name", finding.name},
                              {"verdict", name_of(finding.verdict)},
                              {"text", escape(finding.text)}});
  }
  return json.dump(2) + "\n";
}

Result<Output> check(const Options& options) {
  const std::vector<Finding> findings = look();
  Verdict worst = kFine;
  for (const Finding& finding : findings) worst = std::max(worst, finding.verdict);
  return Output{options.json() ? as_json(findings, worst) : as_text(findings, worst), worst};
}

}  // namespace

void add_check(CLI::App& app, const Options& options, Action& action) {
  app.add_subcommand("check", "will the tracer run here?")->fallthrough()->callback([&] {
    action = Action::repeatable([&] { return check(options); });
  });
}

}  // namespace ebpf::ctl

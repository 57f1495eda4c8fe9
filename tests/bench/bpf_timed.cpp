// SPDX-License-Identifier: Apache-2.0
#include "bpf_timed.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "bpf/socket_state.h"
#include "bpf_code.h"

namespace ebpf::bench {
namespace {

constexpr uint32_t kRegisterWords = 22;  // struct pt_regs, and the probe's word
constexpr uint32_t kProbeWord = 21;
constexpr uint64_t kUserCs = 0x33;
constexpr uint64_t kUserIp = 0x401000;

// In the order of enum stage in bpf/maps.bpf.h; 32-bit calls are left out.
constexpr const char* kStages[] = {"gather", "classify", "classify_more", "emit"};

const char* enter_program(uint64_t nr) {
  if (nr == SYS_sendto || nr == SYS_recvfrom) return "enter6";
  return nr == SYS_sendmmsg || nr == SYS_recvmmsg ? "enter4" : "enter3";
}

Result<UniqueFd> load_code(const std::vector<bpf_insn>& code) {
  UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "bench", "GPL", code.data(),
                                 code.size(), nullptr));
  if (program.get() < 0) return errno_error("cannot load a BPF program");
  return program;
}

Result<UniqueFd> make_map(bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes) {
  UniqueFd map(bpf_map_create(type, "bench", key_bytes, value_bytes, 1, nullptr));
  if (map.get() < 0) return errno_error("cannot make a BPF map");
  return map;
}

Result<> test_run(int program, const uint64_t* words, size_t count) {
  LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = words,
              .ctx_size_in = static_cast<__u32>(count * sizeof(*words)));
  if (bpf_prog_test_run_opts(program, &opts) == 0) return Unit{};
  return errno_error("cannot run a BPF program by itself");
}

struct RunTime {
  uint64_t ns = 0;
  uint64_t runs = 0;
};

Result<RunTime> run_time(int program) {
  bpf_prog_info info = {};
  uint32_t bytes = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &bytes) != 0) {
    return errno_error("cannot ask for the run time of a BPF program");
  }
  return RunTime{info.run_time_ns, info.run_cnt};
}

}  // namespace

Result<UniqueFd> begin_timing() {
  UniqueFd statistics(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (statistics.get() < 0)
    return errno_error("the kernel does not count the run time of programs");
  return statistics;
}

// ---- Programs by themselves ----

Result<PlainProgram> PlainProgram::empty() {
  PlainProgram plain;
  auto program = load_code({set(0, 0), leave()});
  if (!program) return program.error();
  plain.program_ = std::move(*program);
  return plain;
}

Result<PlainProgram> PlainProgram::reference() {
  PlainProgram plain;
  auto map = make_map(BPF_MAP_TYPE_HASH, 8, 64);
  if (!map) return map.error();
  plain.map_ = std::move(*map);
  const uint64_t key = 0;
  const char value[64] = {};
  if (bpf_map_update_elem(plain.map_.get(), &key, value, BPF_ANY) != 0) {
    return errno_error("cannot fill a BPF map");
  }
  auto program = load_code(reference_code(plain.map_.get()));
  if (!program) return program.error();
  plain.program_ = std::move(*program);
  return plain;
}

Result<double> PlainProgram::time(uint32_t runs) const {
  // What it reads as user memory.
  alignas(4096) static const char bytes[512] = {};
  const uint64_t words[] = {reinterpret_cast<uint64_t>(bytes), 0};
  const auto before = run_time(program_.get());
  if (!before) return before.error();
  for (uint32_t i = 0; i < runs; ++i) {
    if (auto run = test_run(program_.get(), words, std::size(words)); !run) return run.error();
  }
  const auto after = run_time(program_.get());
  if (!after) return after.error();
  return static_cast<double>(after->ns - before->ns) / runs;
}

// ---- Ours ----

Result<std::unique_ptr<TimedPrograms>> TimedPrograms::load(const std::string& folder,
                                                           const BackEnd& back_end,
                                                           const offsets_table& offsets) {
  std::unique_ptr<TimedPrograms> programs(new TimedPrograms);
  if (auto built = programs->build(folder, back_end, offsets); !built) return built.error();
  return programs;
}

TimedPrograms::~TimedPrograms() = default;

bool TimedPrograms::is_tracepoint() const { return attach_kind_ == EBPF_ATTACH_TRACEPOINT; }

Result<> TimedPrograms::build(const std::string& folder, const BackEnd& back_end,
                              const offsets_table& offsets) {
  // Programs for tracepoints cannot be run by themselves; loaded as raw ones, they are the same.
  static const int handler = libbpf_register_prog_handler(
      "tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, static_cast<bpf_attach_type>(0), nullptr);
  if (handler < 0) return errno_error("cannot load tracepoint programs as raw ones", -handler);
  attach_kind_ = back_end.attach_kind;
  options_.bpf_file = folder + "/" + back_end.object + ".o";
  options_.transport = back_end.transport;
  options_.max_socket_entries = options_.max_trace_entries = 1024;
  const LogSink log = [](LogLevel, const std::string&) {};
  auto object = load_object({&options_, &offsets, attach_kind_}, log);
  if (!object) return object.error();
  object_ = std::move(*object);
  if (auto enabled = enable(); !enabled) return enabled;
  return make_registers();
}

Result<> TimedPrograms::enable() {
  const uint32_t key = 0;
  tracer_config config;
  const int map = map_fd(object_, "config_map");
  if (bpf_map_lookup_elem(map, &key, &config) != 0) return errno_error("no configuration");
  config.enabled = 1;
  if (bpf_map_update_elem(map, &key, &config, BPF_ANY) != 0) return errno_error("cannot enable");
  return Unit{};
}

Result<> TimedPrograms::open_buffers() {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < libbpf_num_possible_cpus(); ++cpu) cpus.push_back(cpu);
  constexpr size_t kPage = 4096;
  const size_t data_bytes = options_.perf_pages * kPage;
  if (uses_rings(object_, options_)) {
    return rings_.open(map_fd(object_, kRingsMap), cpus, data_bytes, &buffers_);
  }
  perf_event_attr attr = {};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  attr.watermark = 1;
  attr.wakeup_watermark = wake_bytes(options_.perf_pages);
  const auto unused = [](void*, int, perf_event_header*) { return LIBBPF_PERF_EVENT_CONT; };
  perf_buffer_.reset(perf_buffer__new_raw(map_fd(object_, "events_map"), options_.perf_pages, &attr,
                                          unused, nullptr, nullptr));
  if (!perf_buffer_) return errno_error("cannot open perf buffers");
  for (size_t i = 0; i < perf_buffer__buffer_cnt(perf_buffer_.get()); ++i) {
    void* base;
    size_t bytes;
    if (perf_buffer__buffer(perf_buffer_.get(), static_cast<int>(i), &base, &bytes) != 0) continue;
    buffers_.emplace_back(
        PerfCpu(cpus[i], static_cast<perf_event_mmap_page*>(base), kPage, data_bytes));
  }
  return Unit{};
}

// A map's value that the programs take for saved registers; a program tells where the kernel has
// it.
Result<> TimedPrograms::make_registers() {
  auto map = make_map(BPF_MAP_TYPE_ARRAY, 4, kRegisterWords * 8);
  if (!map) return map.error();
  registers_ = std::move(*map);
  auto tell = load_code(address_code(registers_.get()));
  if (!tell) return tell.error();
  const uint64_t words[2] = {};
  if (auto run = test_run(tell->get(), words, std::size(words)); !run) return run;
  uint64_t values[kRegisterWords] = {};
  const uint32_t key = 0;
  if (bpf_map_lookup_elem(registers_.get(), &key, values) != 0) return errno_error("no registers");
  registers_at_ = values[0];
  auto probe = load_code(probe_code(registers_.get(), kProbeWord * 8));
  if (!probe) return probe.error();
  probe_ = std::move(*probe);
  return Unit{};
}

int TimedPrograms::program_fd(const std::string& name) const {
  const std::string full = (is_tracepoint() ? "tp_" : "raw_") + name;
  const bpf_program* program = bpf_object__find_program_by_name(object_.get(), full.c_str());
  return program ? bpf_program__fd(program) : -1;
}

Result<> TimedPrograms::set_registers(const EndedCall& call) const {
  const auto& args = call.args;
  const uint64_t values[kRegisterWords] = {0,       0,       0,       0,       0,        0,
                                           0,       args[3], args[5], args[4], call.ret, kUserIp,
                                           args[2], args[1], args[0], call.nr, kUserIp,  kUserCs};
  const uint32_t key = 0;
  if (bpf_map_update_elem(registers_.get(), &key, values, BPF_ANY) == 0) return Unit{};
  return errno_error("cannot set the registers");
}

Result<> TimedPrograms::run_once(const EndedCall& call) {
  if (!is_tracepoint()) {
    const uint64_t words[] = {registers_at_, call.ret};
    return test_run(program_fd("exit"), words, std::size(words));
  }
  const auto& args = call.args;
  const uint64_t enter[] = {0, call.nr, args[0], args[1], args[2], args[3], args[4], args[5]};
  const uint64_t exit[] = {0, call.nr, call.ret};
  const int program = program_fd(enter_program(call.nr));
  if (auto run = test_run(program, enter, std::size(enter)); !run) return run;
  return test_run(program_fd("exit"), exit, std::size(exit));
}

// Those named are reached by tail calls; at the others a call ends. Changes take the kernel some
// milliseconds, so only what differs is changed.
Result<> TimedPrograms::set_stages(const std::vector<std::string>& names) {
  const int map = map_fd(object_, "stages_map");
  for (uint32_t stage = 0; stage < std::size(kStages); ++stage) {
    const bool is_wanted = std::find(names.begin(), names.end(), kStages[stage]) != names.end();
    const int program = is_wanted ? program_fd(kStages[stage]) : -1;
    if (chained_[stage] == program) continue;
    chained_[stage] = program;
    if (!is_wanted) {
      (void)bpf_map_delete_elem(map, &stage);
    } else if (bpf_map_update_elem(map, &stage, &program, BPF_ANY) != 0) {
      return errno_error("cannot chain the programs");
    }
  }
  return Unit{};
}

Result<bool> TimedPrograms::reaches(const EndedCall& call, const std::string& name) {
  const auto* found = std::find(std::begin(kStages), std::end(kStages), name);
  const auto stage = static_cast<uint32_t>(found - std::begin(kStages));
  const int probe = chained_[stage] = probe_.get();
  if (bpf_map_update_elem(map_fd(object_, "stages_map"), &stage, &probe, BPF_ANY) != 0) {
    return errno_error("cannot chain a program");
  }
  if (auto set = set_registers(call); !set) return set.error();
  if (auto run = run_once(call); !run) return run.error();
  uint64_t values[kRegisterWords] = {};
  const uint32_t key = 0;
  if (bpf_map_lookup_elem(registers_.get(), &key, values) != 0) return errno_error("no registers");
  return values[kProbeWord] != 0;
}

Result<std::vector<std::string>> TimedPrograms::path_of(const EndedCall& call) {
  std::vector<std::string> path = {"exit"};
  if (is_tracepoint()) path.insert(path.begin(), enter_program(call.nr));
  for (const char* stage : kStages) {
    if (auto set = set_stages(path); !set) return set.error();
    const auto is_reached = reaches(call, stage);
    if (!is_reached) return is_reached.error();
    if (*is_reached) path.emplace_back(stage);
  }
  return path;
}

Result<double> TimedPrograms::time(const EndedCall& call, const std::vector<std::string>& path,
                                   size_t depth, uint32_t runs, ino_t fresh) {
  const auto behind = path.begin() + static_cast<std::ptrdiff_t>(depth);
  if (auto set = set_stages({path.begin(), behind}); !set) return set.error();
  if (auto set = set_registers(call); !set) return set.error();
  // The kernel counts what is reached by tail calls with the program that was entered.
  std::vector<int> counted = {program_fd(path[0])};
  if (is_tracepoint() && depth > 1) counted.push_back(program_fd("exit"));
  double ns = 0;
  for (const int program : counted) {
    const auto before = run_time(program);
    if (!before) return before.error();
    ns -= static_cast<double>(before->ns);
  }
  for (uint32_t i = 0; i < runs; ++i) {
    if (fresh != 0) forget_socket(fresh);
    if (auto run = run_once(call); !run) return run.error();
  }
  for (const int program : counted) {
    const auto after = run_time(program);
    if (!after) return after.error();
    ns += static_cast<double>(after->ns);
  }
  (void)take_events();
  return ns / runs;
}

Result<> TimedPrograms::run(const EndedCall& call, uint32_t runs) {
  if (auto set = set_stages({std::begin(kStages), std::end(kStages)}); !set) return set;
  if (auto set = set_registers(call); !set) return set;
  for (uint32_t i = 0; i < runs; ++i) {
    if (auto run = run_once(call); !run) return run;
  }
  return Unit{};
}

void TimedPrograms::forget_socket(ino_t inode) {
  const int map = map_fd(object_, "socket_map");
  uint64_t key = 0;
  for (const uint64_t* before = nullptr; bpf_map_get_next_key(map, before, &key) == 0;
       before = &key) {
    socket_entry entry;
    if (bpf_map_lookup_elem(map, &key, &entry) != 0 || entry.inode != inode) continue;
    (void)bpf_map_delete_elem(map, &key);
    return;
  }
}

uint32_t TimedPrograms::take_events() {
  uint32_t count = 0;
  for (CpuBuffer& buffer : buffers_) {
    buffer.snapshot();
    for (EventView event; buffer.peek(&event); buffer.pop()) ++count;
    buffer.release();
  }
  return count;
}

}  // namespace ebpf::bench

// SPDX-License-Identifier: Apache-2.0
#include "producer/kernel_tracer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "producer/attach.h"
#include "producer/bpf_loader.h"
#include "producer/bpf_rights.h"
#include "producer/event_rings.h"
#include "producer/kernel_maps.h"
#include "producer/kernel_report.h"
#include "producer/libbpf_log.h"
#include "producer/offset_search.h"
#include "producer/offsets_btf.h"
#include "producer/perf_bells.h"
#include "producer/program_config.h"

namespace ebpf {
namespace {

constexpr int kVersionThatPreempts = 7000;
// Of the raw back end there. A call is left out if that many threads on one CPU are preempted
// inside of the programs, each in another copy.
constexpr uint32_t kCopiesWherePreempted = 3;

constexpr const char* kEntryPrograms[] = {"raw_exit", "tp_enter3", "tp_enter4", "tp_enter6",
                                          "tp_exit"};

struct PerfBufferDeleter {
  void operator()(perf_buffer* buffer) const { perf_buffer__free(buffer); }
};

struct Offsets {
  offsets_table table;
  uint32_t source;  // EBPF_OFFSETS_*
};

Result<Offsets> find_offsets(const TracerOptions& options, const LogSink& log) {
  Error btf_error;
  if (options.offsets != OffsetsMode::kSearch) {
    auto table = offsets_from_btf(options.btf_file, log);
    if (table) {
      return Offsets{*table, options.btf_file.empty() ? EBPF_OFFSETS_BTF : EBPF_OFFSETS_FILE};
    }
    // A file that was named and cannot be used is an error, not a reason to search.
    if (options.offsets == OffsetsMode::kBtf || !options.btf_file.empty()) return table.error();
    btf_error = table.error();
    log(LogLevel::kInfo, btf_error.message + "; searching for the offsets");
  }
  auto searched = search_offsets(log);
  if (searched) return Offsets{searched->table, EBPF_OFFSETS_SEARCH};
  Error error = searched.error();
  if (!btf_error.message.empty()) error.message = btf_error.message + "; " + error.message;
  return error;
}

// "0-3,8" as a list.
std::vector<int> online_cpus() {
  std::vector<int> cpus;
  std::ifstream file("/sys/devices/system/cpu/online");
  for (std::string range; std::getline(file, range, ',');) {
    int first;
    int last;
    const int fields = std::sscanf(range.c_str(), "%d-%d", &first, &last);
    if (fields < 1) continue;
    if (fields == 1) last = first;
    for (int cpu = first; cpu <= last; cpu++) cpus.push_back(cpu);
  }
  if (cpus.empty()) {
    for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) cpus.push_back(cpu);
  }
  return cpus;
}

// A buffer that cannot hold one event would lose them all.
Result<> check_buffer_size(const TracerOptions& options) {
  constexpr size_t kRecordHeader = 16;  // of either kind of buffer, with what fills it up
  const size_t event_bytes = kRecordHeader + sizeof(kernel_event) + options.cap_bytes;
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (event_bytes < options.perf_pages * page_bytes) return Unit{};
  size_t pages = 1;
  while (pages * page_bytes <= event_bytes) pages *= 2;
  return Error{EINVAL, "--perf-pages " + std::to_string(options.perf_pages) +
                           " cannot hold an event of --cap-len " +
                           std::to_string(options.cap_bytes) + "; it takes " +
                           std::to_string(pages) + " pages at least"};
}

}  // namespace

class KernelTracer::Impl {
 public:
  Impl(const TracerOptions& options, const LogSink& log) : options_(options), log_(log) {}
  ~Impl() { (void)stop(); }

  Result<> open();
  Result<> start();
  Result<> stop();

  KernelCounters counters() const;
  std::vector<uint64_t> lost_by_lane() const;
  uint32_t reclaim_sockets(uint32_t target, uint32_t budget);
  uint32_t forget_dead_sockets(uint32_t budget);
  std::vector<ebpf_program_row> programs() const { return program_rows(object_.get(), links_); }
  std::vector<ebpf_map_row> maps() const;

  const TracerOptions options_;
  const LogSink log_;
  Offsets offsets_ = {};
  uint32_t attach_kind_ = EBPF_ATTACH_NONE;
  std::vector<CpuBuffer> cpus_;
  EventRings rings_;  // or the perf buffers:
  std::unique_ptr<perf_buffer, PerfBufferDeleter> perf_buffer_;
  PerfBells bells_;  // of perf buffers
  ProgramConfig config_;
  uint32_t perf_pages_ = options_.perf_pages;

 private:
  Result<> load_best();
  Result<> load_for(uint32_t attach_kind);
  Result<BpfLinks> attach() const;
  Result<> load_copies(const LoadRequest& request, uint32_t count);
  uint64_t skipped_runs() const;
  Result<> open_buffers();
  Result<> open_perf_buffers(size_t page_bytes);
  Result<> try_perf_buffers(const std::vector<int>& cpus);
  void open_bells(const std::vector<int>& cpus);

  BpfObject object_;
  std::vector<BpfObject> copies_;  // further ones, in the order of their attachment
  BpfLinks links_;
  std::unique_ptr<SocketSweep> sweep_;
  std::unique_ptr<DeadSocketSweep> dead_sweep_;
};

Result<> KernelTracer::Impl::open() {
  LibbpfLog(log_).clear();  // from here on libbpf prints to nobody but a LibbpfLog
  if (auto checked = check_buffer_size(options_); !checked) return checked;
  raise_memlock_limit(log_);
  if (auto allowed = check_bpf_rights(); !allowed) return allowed;
  auto offsets = find_offsets(options_, log_);
  if (!offsets) return offsets.error();
  offsets_ = *offsets;

  if (auto loaded = load_best(); !loaded) return loaded;
  sweep_ = std::make_unique<SocketSweep>(map_fd(object_, "socket_map"));
  dead_sweep_ = std::make_unique<DeadSocketSweep>(map_fd(object_, "socket_map"),
                                                  map_fd(object_, "liveness_map"));
  if (auto opened = config_.open(map_fd(object_, "config_map")); !opened) return opened;
  return open_buffers();
}

// The back end of the options, or the cheapest one that works.
Result<> KernelTracer::Impl::load_best() {
  constexpr struct {
    AttachMode mode;
    uint32_t kind;
    const char* name;
  } kBackEnds[] = {{AttachMode::kDirect, EBPF_ATTACH_DIRECT, "direct loads"},
                   {AttachMode::kRaw, EBPF_ATTACH_RAW, "raw tracepoints"},
                   {AttachMode::kTracepoint, EBPF_ATTACH_TRACEPOINT, "tracepoints"}};
  std::string refusals;
  int code = 0;
  for (const auto& back_end : kBackEnds) {
    if (options_.attach != AttachMode::kAuto && options_.attach != back_end.mode) continue;
    auto loaded = load_for(back_end.kind);
    if (loaded || options_.attach != AttachMode::kAuto) return loaded;
    code = loaded.error().code;
    const std::string refusal = std::string(back_end.name) + ": " + loaded.error().message;
    // That direct loads are not to be had is no news on an older kernel, and no reason why the
    // others do not work.
    const bool is_news = code != EOPNOTSUPP;
    if (back_end.kind != EBPF_ATTACH_DIRECT) refusals += (refusals.empty() ? "" : "; ") + refusal;
    log_(is_news ? LogLevel::kInfo : LogLevel::kDebug, refusal + "; trying what is next best");
  }
  return Error{code, refusals};
}

// Loads, and attaches to one hook for a moment to see whether that works.
Result<> KernelTracer::Impl::load_for(uint32_t attach_kind) {
  const bool use_tracepoints = attach_kind == EBPF_ATTACH_TRACEPOINT;
  if (use_tracepoints) {
    if (auto there = check_tracefs(); !there) return there;
  }
  uint32_t copies = options_.copies;
  if (copies == 0) copies = kernel_version() < kVersionThatPreempts ? 1 : kCopiesWherePreempted;
  if (use_tracepoints) copies = 1;  // these are run with preemption off
  LoadRequest request = {&options_, &offsets_.table, attach_kind};
  if (copies > 1) request.role = ROLE_FIRST;
  auto object = load_object(request, log_);
  if (!object) return object.error();
  object_ = std::move(*object);
  if (auto loaded = load_copies(request, copies - 1); !loaded) {
    log_(LogLevel::kWarn, "only one copy of the programs can be loaded, calls may be left out: " +
                              loaded.error().message);
    copies_.clear();
    if (auto set = set_role(object_, ROLE_ONLY); !set) return set;
  }
  attach_kind_ = attach_kind;
  auto tried = try_attach(object_.get(), use_tracepoints, log_);
  if (tried) return Unit{};
  object_.reset();
  attach_kind_ = EBPF_ATTACH_NONE;
  return tried;
}

Result<> KernelTracer::Impl::load_copies(const LoadRequest& original, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    LoadRequest request = original;
    request.role = i + 1 == count ? ROLE_LAST : ROLE_NEXT;
    request.original = object_.get();
    auto object = load_object(request, log_);
    if (!object) return object.error();
    copies_.push_back(std::move(*object));
  }
  return Unit{};
}

Result<BpfLinks> KernelTracer::Impl::attach() const {
  if (attach_kind_ == EBPF_ATTACH_TRACEPOINT) return attach_tracepoints(object_.get(), log_);
  auto links = attach_raw(object_.get(), log_);
  for (const BpfObject& copy : copies_) {
    if (!links) break;
    auto more = attach_raw_copy(copy.get(), log_);
    if (!more) return more;
    std::move(more->begin(), more->end(), std::back_inserter(*links));
  }
  return links;
}

Result<> KernelTracer::Impl::open_buffers() {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t data_bytes = options_.perf_pages * page_bytes;
  if (uses_rings(object_, options_)) {
    return rings_.open(map_fd(object_, kRingsMap), online_cpus(), data_bytes, &cpus_);
  }
  return open_perf_buffers(page_bytes);
}

Result<> KernelTracer::Impl::try_perf_buffers(const std::vector<int>& online) {
  std::vector<int> cpus = online;
  perf_event_attr attr = {};
  attr.size = sizeof(attr);
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  // Wakes rarely; the drain looks in on its own between wake-ups.
  attr.watermark = 1;
  attr.wakeup_watermark = wake_bytes(perf_pages_);

  LIBBPF_OPTS(perf_buffer_raw_opts, opts, .cpu_cnt = static_cast<int>(cpus.size()),
              .cpus = cpus.data(), .map_keys = cpus.data());
  const LibbpfLog libbpf_log(log_);
  // The callback is never called: the drain walks the pages itself.
  const auto unused = [](void*, int, perf_event_header*) { return LIBBPF_PERF_EVENT_CONT; };
  perf_buffer_.reset(perf_buffer__new_raw(map_fd(object_, "events_map"), perf_pages_, &attr, unused,
                                          nullptr, &opts));
  if (perf_buffer_) return Unit{};
  return errno_error("cannot open a perf buffer of " + std::to_string(perf_pages_) +
                     " pages for each CPU");
}

Result<> KernelTracer::Impl::open_perf_buffers(size_t page_bytes) {
  const std::vector<int> cpus = online_cpus();
  auto tried = try_perf_buffers(cpus);
  while (!tried && tried.error().code == EPERM && perf_pages_ / 2 >= options_.perf_pages_least) {
    log_(LogLevel::kInfo, tried.error().message + " (RLIMIT_MEMLOCK, perf_event_mlock_kb); " +
                              "trying half of that");
    perf_pages_ /= 2;
    tried = try_perf_buffers(cpus);
  }
  if (!tried) {
    Error error = tried.error();
    if (const std::string why = explain_refusal(error.code); !why.empty()) {
      error.message += "; " + why;
    }
    return error;
  }
  for (size_t i = 0; i < perf_buffer__buffer_cnt(perf_buffer_.get()); i++) {
    void* base;
    size_t mapped_bytes;
    if (perf_buffer__buffer(perf_buffer_.get(), static_cast<int>(i), &base, &mapped_bytes) != 0) {
      continue;
    }
    cpus_.emplace_back(PerfCpu(cpus[i], static_cast<perf_event_mmap_page*>(base), page_bytes,
                               perf_pages_ * page_bytes));
  }
  open_bells(cpus);
  return Unit{};
}

void KernelTracer::Impl::open_bells(const std::vector<int>& cpus) {
  const int epoll_fd = perf_buffer__epoll_fd(perf_buffer_.get());
  auto opened = bells_.open(map_fd(object_, "bell_map"), epoll_fd, cpus);
  if (opened) return;
  log_(LogLevel::kInfo, opened.error().message + "; looking for events all the time instead");
}

Result<> KernelTracer::Impl::start() {
  if (!links_.empty()) return Unit{};
  auto links = attach();
  if (!links) return links.error();
  if (auto enabled = config_.set_enabled(true); !enabled) return enabled;
  links_ = std::move(*links);
  return Unit{};
}

// Runs that the kernel left out. Of several copies, what the last one missed: whatever the
// others missed came to it, or was handled before it. A kernel that does not tell says 0.
uint64_t KernelTracer::Impl::skipped_runs() const {
  const BpfObject& last = copies_.empty() ? object_ : copies_.back();
  uint64_t skipped = 0;
  for (const char* name : kEntryPrograms) {
    const bpf_program* program = bpf_object__find_program_by_name(last.get(), name);
    bpf_prog_info info = {};
    uint32_t bytes = sizeof(info);
    const int fd = program ? bpf_program__fd(program) : -1;
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &bytes) == 0) skipped += info.recursion_misses;
  }
  return skipped;
}

Result<> KernelTracer::Impl::stop() {
  if (links_.empty()) return Unit{};
  auto disabled = config_.set_enabled(false);
  if (const uint64_t skipped = skipped_runs(); skipped != 0) {
    log_(LogLevel::kWarn, "the kernel left out " + std::to_string(skipped) +
                              " runs of the programs: threads were preempted inside of them");
  }
  links_.clear();
  return disabled;
}

KernelCounters KernelTracer::Impl::counters() const {
  KernelCounters counters = {};
  const auto sums = sum_over_cpus(map_fd(object_, "counters_map"), 0, COUNTER_COUNT);
  std::copy(sums.begin(), sums.end(), counters.begin());
  counters[COUNTER_SKIPPED] = skipped_runs();
  counters[COUNTER_SOCKET_DELETED] += sweep_->removed() + dead_sweep_->removed();
  return counters;
}

std::vector<uint64_t> KernelTracer::Impl::lost_by_lane() const {
  std::vector<uint64_t> lost(options_.lane_count);
  for (uint32_t lane = 0; lane < options_.lane_count; lane++) {
    lost[lane] = sum_over_cpus(map_fd(object_, "lane_lost_map"), lane, 1)[0];
  }
  return lost;
}

uint32_t KernelTracer::Impl::reclaim_sockets(uint32_t target, uint32_t budget) {
  const KernelCounters now = counters();
  const uint64_t inserted = now[COUNTER_SOCKET_INSERTED];
  const uint64_t deleted = now[COUNTER_SOCKET_DELETED];
  return sweep_->run(inserted > deleted ? inserted - deleted : 0, target, budget);
}

uint32_t KernelTracer::Impl::forget_dead_sockets(uint32_t budget) {
  return links_.empty() ? 0 : dead_sweep_->run(budget);
}

// Two of the maps may be large, and are counted all the time anyway.
std::vector<ebpf_map_row> KernelTracer::Impl::maps() const {
  const KernelCounters now = counters();
  const auto used = [&now](kernel_counter inserted, kernel_counter deleted) {
    return now[inserted] > now[deleted] ? now[inserted] - now[deleted] : 0;
  };
  return map_rows(object_.get(), [&used](const std::string& map, uint64_t* entries) {
    if (map == "socket_map") {
      *entries = used(COUNTER_SOCKET_INSERTED, COUNTER_SOCKET_DELETED);
    } else if (map == "trace_map") {
      *entries = used(COUNTER_TRACE_INSERTED, COUNTER_TRACE_DELETED);
    } else {
      return false;
    }
    return true;
  });
}

KernelTracer::KernelTracer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KernelTracer::~KernelTracer() = default;

Result<std::unique_ptr<KernelTracer>> KernelTracer::open(const TracerOptions& options,
                                                         const LogSink& log) {
  const LogSink sink = log ? log : [](LogLevel, const std::string&) {};
  auto impl = std::make_unique<Impl>(options, sink);
  if (auto opened = impl->open(); !opened) return opened.error();
  return std::unique_ptr<KernelTracer>(new KernelTracer(std::move(impl)));
}

Result<> KernelTracer::start() { return impl_->start(); }
Result<> KernelTracer::stop() { return impl_->stop(); }
std::vector<CpuBuffer>& KernelTracer::cpus() { return impl_->cpus_; }
int KernelTracer::epoll_fd() const {
  return impl_->perf_buffer_ ? perf_buffer__epoll_fd(impl_->perf_buffer_.get())
                             : impl_->rings_.epoll_fd();
}
bool KernelTracer::can_sleep() const { return !impl_->perf_buffer_ || impl_->bells_.are_open(); }
void KernelTracer::set_asleep(bool asleep) { impl_->config_.set_asleep(asleep); }

KernelCounters KernelTracer::counters() const { return impl_->counters(); }
std::vector<uint64_t> KernelTracer::lost_by_lane() const { return impl_->lost_by_lane(); }

uint32_t KernelTracer::reclaim_sockets(uint32_t target, uint32_t budget) {
  return impl_->reclaim_sockets(target, budget);
}

uint32_t KernelTracer::forget_dead_sockets(uint32_t budget) {
  return impl_->forget_dead_sockets(budget);
}

uint32_t KernelTracer::transport() const {
  return impl_->perf_buffer_ ? EBPF_TRANSPORT_PERF : EBPF_TRANSPORT_RINGBUF;
}

uint32_t KernelTracer::perf_pages() const { return impl_->perf_pages_; }

uint32_t KernelTracer::attach_kind() const { return impl_->attach_kind_; }
uint32_t KernelTracer::offsets_source() const { return impl_->offsets_.source; }

std::vector<ebpf_offset_entry> KernelTracer::offsets() const {
  std::array<uint32_t, OFFSETS_TABLE_ENTRIES> values;
  static_assert(sizeof(values) == sizeof(offsets_table));
  std::memcpy(values.data(), &impl_->offsets_.table, sizeof(values));
  std::vector<ebpf_offset_entry> entries;
  for (size_t i = 0; i < values.size(); i++) {
    ebpf_offset_entry entry = {};
    std::strncpy(entry.name, offset_names()[i], sizeof(entry.name) - 1);
    entry.offset = values[i];
    entry.source = static_cast<uint8_t>(impl_->offsets_.source);
    entries.push_back(entry);
  }
  return entries;
}

std::vector<ebpf_program_row> KernelTracer::programs() const { return impl_->programs(); }
std::vector<ebpf_map_row> KernelTracer::maps() const { return impl_->maps(); }

std::string KernelTracer::bpf_file() const {
  return impl_->options_.bpf_file.empty() ? "(embedded)" : impl_->options_.bpf_file;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/bpf_loader.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "producer/bpf_rights.h"
#include "producer/libbpf_log.h"

#include <unistd.h>

extern "C" {
extern const unsigned char ebpf_object_socket_trace_start[];
extern const unsigned char ebpf_object_socket_trace_end[];
extern const unsigned char ebpf_object_socket_trace_atomic_start[];
extern const unsigned char ebpf_object_socket_trace_atomic_end[];
extern const unsigned char ebpf_object_socket_trace_direct_start[];
extern const unsigned char ebpf_object_socket_trace_direct_end[];
}

namespace ebpf {
namespace {

constexpr int kVersionWithAtomicFetch = 5012;
constexpr int kVersionWithDirectLoads = 6002;
constexpr int kVersionWithSafeAllocation = 6001;
constexpr int kVersionWithMappedArrays = 5005;
constexpr uint32_t kCallArgsMax = 65536;  // threads that are inside of a traced call at once

// The stages, in the order of enum stage in bpf/maps.bpf.h.
constexpr const char* kStages[] = {"gather", "classify", "classify_more", "emit", "compat"};

struct Image {
  const char* name;
  const unsigned char* start;
  const unsigned char* end;
  int since;    // kernel version that it needs at least
  bool direct;  // for EBPF_ATTACH_DIRECT
};

// Best first.
const Image kImages[] = {
    {"socket_trace_direct", ebpf_object_socket_trace_direct_start,
     ebpf_object_socket_trace_direct_end, kVersionWithDirectLoads, true},
    {"socket_trace_atomic", ebpf_object_socket_trace_atomic_start,
     ebpf_object_socket_trace_atomic_end, kVersionWithAtomicFetch, false},
    {"socket_trace", ebpf_object_socket_trace_start, ebpf_object_socket_trace_end, 0, false},
};

bool use_tracepoints(const LoadRequest& request) {
  return request.attach_kind == EBPF_ATTACH_TRACEPOINT;
}

// Programs of a back end carry its name in front; direct loads are no matter of the hooks.
const char* program_prefix(const LoadRequest& request) {
  return use_tracepoints(request) ? "tp_" : "raw_";
}

Result<BpfObject> open_file(const std::string& path, const LibbpfLog& libbpf_log) {
  bpf_object* raw = bpf_object__open_file(path.c_str(), nullptr);
  if (raw) return BpfObject(raw);
  Error error = libbpf_error("cannot open the BPF object " + path);
  if (const std::string words = libbpf_log.last_words(); !words.empty()) {
    error.message += ": " + words;
  }
  return error;
}

Result<BpfObject> open_image(const Image& image) {
  LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = image.name);
  bpf_object* raw =
      bpf_object__open_mem(image.start, static_cast<size_t>(image.end - image.start), &opts);
  if (raw) return BpfObject(raw);
  return libbpf_error(std::string("cannot open the embedded BPF object ") + image.name);
}

// libbpf cuts the name off.
bool is_from(const bpf_object* object, const Image& image) {
  return std::string(image.name).substr(0, BPF_OBJ_NAME_LEN - 1) == bpf_object__name(object);
}

// What only keeps the maps small: one instance is enough.
constexpr const char* kOnceOnly[] = {"raw_sock_state", "raw_thread_exit"};

// What a run leaves behind for itself: each copy of the programs has its own.
constexpr char kConstants[] = ".rodata.constants";
constexpr const char* kOwnMaps[] = {"scratch_map", "stages_map", "role_map", kConstants};

template <size_t N>
bool is_one_of(const char* const (&names)[N], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

void choose_programs(bpf_object* object, const LoadRequest& request) {
  const char* prefix = program_prefix(request);
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    const char* name = bpf_program__name(program);
    const bool is_left_out = request.original && is_one_of(kOnceOnly, name);
    bpf_program__set_autoload(program,
                              std::strncmp(name, prefix, std::strlen(prefix)) == 0 && !is_left_out);
  }
}

bool object_uses_rings(bpf_object* object, const TracerOptions& options) {
  return options.transport != TransportMode::kPerf &&
         bpf_object__find_map_by_name(object, kRingsMap) != nullptr;
}

Result<> share_maps(bpf_object* object, bpf_object* original) {
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    const std::string name = bpf_map__name(map);
    if (is_one_of(kOwnMaps, name)) continue;
    const int fd = bpf_object__find_map_fd_by_name(original, name.c_str());
    const int error = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);
    if (error != 0) return errno_error("cannot share map " + name, -error);
  }
  return Unit{};
}

Result<> size_map(bpf_object* object, const char* name, uint32_t entries, uint32_t flags = 0) {
  bpf_map* map = bpf_object__find_map_by_name(object, name);
  if (!map) return Error{EINVAL, std::string("the BPF object has no map ") + name};
  int error = bpf_map__set_max_entries(map, entries);
  if (error == 0 && flags != 0) error = bpf_map__set_map_flags(map, flags);
  if (error == 0) return Unit{};
  return errno_error("cannot size map " + std::string(name) + " to " + std::to_string(entries),
                     -error);
}

/*
 * The two big maps. Preallocated elements are the safe choice in tracing programs, and on
 * 5.7 to 6.0 the kernel warns (with a stack trace) of anything else; with the default sizes
 * they cost 120 MB and 0.3 s. From 6.1 on, BPF has an allocator of its own that may
 * be used anywhere: then it is 30 MB for the buckets, and the rest as sockets come.
 */
Result<> size_maps(bpf_object* object, const LoadRequest& request) {
  const TracerOptions& options = *request.options;
  const TracerFilters& filters = options.filters;
  const auto entries_of = [](size_t count) {
    return std::max<uint32_t>(static_cast<uint32_t>(count), 1);
  };
  const auto cpus = static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1));
  if (request.original) return size_map(object, "scratch_map", cpus);
  const uint32_t hash_flags = kernel_version() >= kVersionWithSafeAllocation
                                  ? static_cast<uint32_t>(BPF_F_NO_PREALLOC)
                                  : 0u;
  const uint32_t call_args =
      use_tracepoints(request) ? std::min(options.max_trace_entries, kCallArgsMax) : 1u;
  const bool rings = object_uses_rings(object, options);
  if (rings) {
    if (auto sized = size_map(object, kRingsMap, cpus); !sized) return sized;
  }
  // Written so often that a system call for each time would be most of the cost.
  const uint32_t array_flags =
      kernel_version() >= kVersionWithMappedArrays ? static_cast<uint32_t>(BPF_F_MMAPABLE) : 0u;
  const struct {
    const char* name;
    uint32_t entries;
    uint32_t flags;
  } sizes[] = {
      {"scratch_map", cpus, 0},
      {"events_map", rings ? 1 : cpus, 0},
      {"bell_map", rings ? 1 : cpus, 0},
      {"config_map", 1, array_flags},
      {"lane_lost_map", options.lane_count, 0},
      {"handled_map", request.role == ROLE_ONLY ? 1 : HANDLED_MARKS, 0},
      {"socket_map", options.max_socket_entries, hash_flags},
      {"trace_map", options.max_trace_entries, hash_flags},
      {"call_args_map", call_args, hash_flags},
      {"liveness_map", 1, array_flags},
      {"pid_filter_map", entries_of(filters.allow_pids.size() + filters.deny_pids.size()), 0},
      {"name_filter_map", entries_of(filters.allow_names.size() + filters.deny_names.size()), 0},
  };
  for (const auto& size : sizes) {
    if (auto sized = size_map(object, size.name, size.entries, size.flags); !sized) return sized;
  }
  return Unit{};
}

Result<> write_first(const BpfObject& object, const char* name, const void* value) {
  const uint32_t key = 0;
  const int error = bpf_map_update_elem(map_fd(object, name), &key, value, BPF_ANY);
  if (error == 0) return Unit{};
  return errno_error(std::string("cannot fill map ") + name, -error);
}

Result<> put(const BpfObject& object, const char* name, const void* key, const void* value) {
  const int error = bpf_map_update_elem(map_fd(object, name), key, value, BPF_ANY);
  if (error == 0) return Unit{};
  return errno_error(std::string("cannot fill map ") + name, -error);
}

// Denied entries last: who is on both lists is denied.
Result<> fill_filters(const BpfObject& object, const TracerFilters& filters) {
  constexpr uint32_t kAllow = FILTER_ALLOW;
  constexpr uint32_t kDeny = FILTER_DENY;
  const auto put_pids = [&](const std::vector<uint32_t>& pids, uint32_t verdict) -> Result<> {
    for (const uint32_t pid : pids) {
      if (auto done = put(object, "pid_filter_map", &pid, &verdict); !done) return done;
    }
    return Unit{};
  };
  const auto put_names = [&](const std::vector<std::string>& names, uint32_t verdict) -> Result<> {
    for (const std::string& name : names) {
      char comm[EBPF_COMM_BYTES] = {};
      std::memcpy(comm, name.data(), std::min(name.size(), sizeof(comm) - 1));
      if (auto done = put(object, "name_filter_map", comm, &verdict); !done) return done;
    }
    return Unit{};
  };
  if (auto done = put_pids(filters.allow_pids, kAllow); !done) return done;
  if (auto done = put_pids(filters.deny_pids, kDeny); !done) return done;
  if (auto done = put_names(filters.allow_names, kAllow); !done) return done;
  if (auto done = put_names(filters.deny_names, kDeny); !done) return done;
  if ((filter_bits(filters) & FILTER_PORTS) == 0) return Unit{};
  const std::vector<port_filter> ports = port_filters(filters);
  for (uint32_t i = 0; i < ports.size(); i++) {
    if (auto done = put(object, "port_filter_map", &i, &ports[i]); !done) return done;
  }
  return Unit{};
}

tracer_config config_of(bpf_object* object, const LoadRequest& request) {
  using namespace std::chrono;
  const TracerOptions& options = *request.options;
  tracer_config config = {};
  config.lane_count = options.lane_count;
  config.cap_bytes = std::min<uint32_t>(options.cap_bytes, EBPF_CAP_BYTES_MAX);
  config.capture_unknown = options.capture_unknown;
  config.protocols = options.filters.protocols;
  config.filters = filter_bits(options.filters);
  config.transport = object_uses_rings(object, options) ? EVENTS_IN_RINGS : EVENTS_IN_PERF_BUFFERS;
  config.wake_mask = wake_events(options) - 1;
  config.producer_tgid = static_cast<uint32_t>(getpid());
  config.cpu_count = static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1));
  config.id_base = static_cast<uint64_t>(
      duration_cast<microseconds>(system_clock::now().time_since_epoch()).count());
  config.has_copies = request.role != ROLE_ONLY;
  return config;
}

Result<> read_config(const bpf_object* object, tracer_config* config) {
  const uint32_t key = 0;
  const int fd = bpf_object__find_map_fd_by_name(object, "config_map");
  const int error = bpf_map_lookup_elem(fd, &key, config);
  if (error == 0) return Unit{};
  return errno_error("cannot read the configuration of the BPF programs", -error);
}

// Before the object is loaded.
Result<> set_constants(bpf_object* object, const tracer_constants& constants) {
  bpf_map* map = bpf_object__find_map_by_name(object, kConstants);
  if (!map) return Unit{};  // the object for the oldest kernels
  const int error = bpf_map__set_initial_value(map, &constants, sizeof(constants));
  if (error == 0) return Unit{};
  return errno_error("cannot set the constants of the BPF programs", -error);
}

Result<> fill_maps(const BpfObject& object, const LoadRequest& request,
                   const tracer_constants& constants) {
  if (auto written = write_first(object, "config_map", &constants.config); !written) return written;
  if (auto written = write_first(object, "offsets_map", &constants.offsets); !written) {
    return written;
  }
  return fill_filters(object, request.options->filters);
}

Result<> chain_stages(const BpfObject& object, const LoadRequest& request) {
  const std::string prefix = program_prefix(request);
  for (uint32_t stage = 0; stage < std::size(kStages); stage++) {
    const std::string name = prefix + kStages[stage];
    const bpf_program* program = bpf_object__find_program_by_name(object.get(), name.c_str());
    // 32-bit calls never reach the tracepoints of single system calls.
    if (!program && use_tracepoints(request) && name == "tp_compat") continue;
    if (!program) return Error{EINVAL, "the BPF object has no program " + name};
    const int fd = bpf_program__fd(program);
    const int error = bpf_map_update_elem(map_fd(object, "stages_map"), &stage, &fd, BPF_ANY);
    if (error != 0) return errno_error("cannot chain program " + name, -error);
  }
  return Unit{};
}

Result<> load(const BpfObject& object, const LoadRequest& request, LibbpfLog& libbpf_log) {
  choose_programs(object.get(), request);
  if (request.options->transport == TransportMode::kRingBuffer &&
      !uses_rings(object, *request.options)) {
    return Error{EOPNOTSUPP, "BPF ring buffers need Linux 5.12, and the object made for it"};
  }
  if (request.original) {
    if (auto shared = share_maps(object.get(), request.original); !shared) return shared;
  }
  if (auto sized = size_maps(object.get(), request); !sized) return sized;
  tracer_constants constants = {config_of(object.get(), request), *request.offsets};
  if (request.original) {  // all count ids from the same base
    if (auto read = read_config(request.original, &constants.config); !read) return read;
  }
  if (auto set = set_constants(object.get(), constants); !set) return set;
  libbpf_log.clear();
  if (const int failed = bpf_object__load(object.get()); failed != 0) {
    Error error = libbpf_error("cannot load the BPF programs", -failed);
    if (const std::string why = explain_refusal(error.code); !why.empty()) {
      error.message += "; " + why;
    }
    if (const std::string words = libbpf_log.last_words(); !words.empty()) {
      error.message += "; " + words;
    }
    return error;
  }
  if (!request.original) {
    if (auto filled = fill_maps(object, request, constants); !filled) return filled;
  }
  if (auto chained = chain_stages(object, request); !chained) return chained;
  return set_role(object, request.role);
}

}  // namespace

Result<> set_role(const BpfObject& object, copy_role role) {
  const auto value = static_cast<uint32_t>(role);
  return write_first(object, "role_map", &value);
}

int map_fd(const BpfObject& object, const char* name) {
  return bpf_object__find_map_fd_by_name(object.get(), name);
}

bool uses_rings(const BpfObject& object, const TracerOptions& options) {
  return object_uses_rings(object.get(), options);
}

uint32_t wake_bytes(uint32_t pages) {
  return pages * (static_cast<uint32_t>(sysconf(_SC_PAGESIZE)) / 4);
}

uint32_t wake_events(const TracerOptions& options) {
  const auto event_bytes = static_cast<uint32_t>(sizeof(kernel_event)) + options.cap_bytes;
  return std::bit_floor(std::max(wake_bytes(options.perf_pages) / event_bytes, 1u));
}

Result<BpfObject> load_object(const LoadRequest& request, const LogSink& log) {
  LibbpfLog libbpf_log(log);
  if (!request.options->bpf_file.empty()) {
    auto object = open_file(request.options->bpf_file, libbpf_log);
    if (!object) return object;
    if (auto loaded = load(*object, request, libbpf_log); !loaded) return loaded.error();
    return object;
  }
  const bool direct = request.attach_kind == EBPF_ATTACH_DIRECT;
  Error last = {EINVAL, "no BPF object is embedded"};
  for (const Image& image : kImages) {
    if (image.direct != direct) continue;
    if (kernel_version() < image.since) {
      last = {EOPNOTSUPP, std::string(image.name) + " needs Linux " +
                              std::to_string(image.since / 1000) + "." +
                              std::to_string(image.since % 1000)};
      continue;
    }
    if (request.original && !is_from(request.original, image)) continue;
    auto object = open_image(image);
    if (!object) return object;
    auto loaded = load(*object, request, libbpf_log);
    if (loaded) {
      log(LogLevel::kDebug, std::string("loaded BPF object ") + image.name);
      return object;
    }
    last = loaded.error();
    log(LogLevel::kDebug, std::string(image.name) + ": " + last.message);
  }
  return last;
}

}  // namespace ebpf

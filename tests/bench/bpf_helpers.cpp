// SPDX-License-Identifier: Apache-2.0
#include "bpf_helpers.h"

#include <cerrno>
#include <cstring>
#include <iterator>
#include <stdexcept>

namespace ebpf::bench {
namespace {

constexpr uint64_t kNameBytes = 16;

uint64_t error(int number) { return static_cast<uint64_t>(-static_cast<int64_t>(number)); }
void* at(uint64_t address) { return reinterpret_cast<void*>(address); }
BpfMap& map_at(uint64_t address) { return *static_cast<BpfMap*>(at(address)); }
uint64_t address_of(const void* place) { return reinterpret_cast<uint64_t>(place); }

uint64_t lookup(BpfMachine&, const uint64_t* args) {
  BpfMap& map = map_at(args[0]);
  uint8_t* value = map.find(at(args[1]));
  if (map.type() != BPF_MAP_TYPE_ARRAY_OF_MAPS) return address_of(value);
  // Of whatever is in there, one is as good as another.
  return value ? args[0] : 0;
}

uint64_t update(BpfMachine&, const uint64_t* args) {
  return static_cast<uint64_t>(map_at(args[0]).update(at(args[1]), at(args[2]), args[3]));
}

uint64_t erase(BpfMachine&, const uint64_t* args) {
  return static_cast<uint64_t>(map_at(args[0]).erase(at(args[1])));
}

// (to, size, from)
uint64_t probe_read(BpfMachine& machine, const uint64_t* args) {
  if (!machine.is_writable(args[0], args[1])) {
    throw std::runtime_error("a probe read writes where no map and no stack is");
  }
  if (!machine.is_readable(args[2], args[1])) {
    std::memset(at(args[0]), 0, args[1]);
    return error(EFAULT);
  }
  std::memcpy(at(args[0]), at(args[2]), args[1]);
  return 0;
}

uint64_t now(BpfMachine& machine, const uint64_t*) { return machine.surroundings.now_ns += 1000; }

uint64_t zero(BpfMachine&, const uint64_t*) { return 0; }

uint64_t same(BpfMachine&, const uint64_t* args) { return args[0]; }
uint64_t thread(BpfMachine& machine, const uint64_t*) { return machine.surroundings.thread; }

uint64_t task(BpfMachine& machine, const uint64_t*) { return machine.surroundings.task; }
uint64_t name_of_thread(BpfMachine& machine, const uint64_t* args) {
  std::memset(at(args[0]), 0, args[1]);
  std::memcpy(at(args[0]), at(machine.surroundings.task_name), std::min(args[1], kNameBytes));
  return 0;
}

uint64_t send(BpfMachine& machine, uint64_t from, uint64_t bytes) {
  if (!machine.is_readable(from, bytes)) {
    throw std::runtime_error("what is sent lies partly nowhere");
  }
  machine.events.emplace_back(static_cast<const char*>(at(from)), bytes);
  return 0;
}

// (context, map, flags, from, size)
uint64_t perf_event_output(BpfMachine& machine, const uint64_t* args) {
  return send(machine, args[3], args[4]);
}

// (ring, from, size, flags)
uint64_t ringbuf_output(BpfMachine& machine, const uint64_t* args) {
  return send(machine, args[1], args[2]);
}

// (ring, size, flags)
uint64_t ringbuf_reserve(BpfMachine& machine, const uint64_t* args) {
  return machine.reserve(args[1]);
}

// (record, flags)
uint64_t ringbuf_submit(BpfMachine& machine, const uint64_t* args) {
  send(machine, args[0], machine.reserved_bytes(args[0]));
  machine.end_reserved(args[0]);
  return 0;
}

uint64_t ringbuf_discard(BpfMachine& machine, const uint64_t* args) {
  machine.end_reserved(args[0]);
  return 0;
}

// (map, task, initial value, flags): there is one task, so the map has one entry.
uint64_t task_storage_get(BpfMachine&, const uint64_t* args) {
  BpfMap& map = map_at(args[0]);
  const uint32_t key = 0;
  uint8_t* value = map.find(&key);
  if (value || !(args[3] & BPF_LOCAL_STORAGE_GET_F_CREATE)) return address_of(value);
  value = map.find_or_add(&key);
  if (args[2]) std::memcpy(value, at(args[2]), map.value_bytes());
  return address_of(value);
}

uint64_t task_storage_delete(BpfMachine&, const uint64_t* args) {
  const uint32_t key = 0;
  return static_cast<uint64_t>(map_at(args[0]).erase(&key));
}

constexpr struct {
  int32_t number;
  BpfHelper function;
} kHelpers[] = {
    {BPF_FUNC_map_lookup_elem, lookup},
    {BPF_FUNC_map_update_elem, update},
    {BPF_FUNC_map_delete_elem, erase},
    {BPF_FUNC_map_lookup_percpu_elem, lookup},
    {BPF_FUNC_probe_read, probe_read},
    {BPF_FUNC_probe_read_kernel, probe_read},
    {BPF_FUNC_probe_read_user, probe_read},
    {BPF_FUNC_copy_from_user, probe_read},
    {BPF_FUNC_ktime_get_ns, now},
    {BPF_FUNC_ktime_get_boot_ns, now},
    {BPF_FUNC_ktime_get_coarse_ns, now},
    {BPF_FUNC_jiffies64, now},
    {BPF_FUNC_get_smp_processor_id, zero},
    {BPF_FUNC_get_current_pid_tgid, thread},
    {BPF_FUNC_get_current_task, task},
    {BPF_FUNC_get_current_task_btf, task},
    {BPF_FUNC_get_current_comm, name_of_thread},
    {BPF_FUNC_perf_event_output, perf_event_output},
    {BPF_FUNC_ringbuf_output, ringbuf_output},
    {BPF_FUNC_ringbuf_reserve, ringbuf_reserve},
    {BPF_FUNC_ringbuf_submit, ringbuf_submit},
    {BPF_FUNC_ringbuf_discard, ringbuf_discard},
    {BPF_FUNC_ringbuf_query, zero},
    {BPF_FUNC_task_storage_get, task_storage_get},
    {BPF_FUNC_task_storage_delete, task_storage_delete},
};

#define EBPF_HELPER_NAME(name) #name
constexpr const char* kNames[] = {__BPF_FUNC_MAPPER(EBPF_HELPER_NAME)};
#undef EBPF_HELPER_NAME

}  // namespace

BpfHelper find_helper(int32_t number) {
  for (const auto& helper : kHelpers) {
    if (helper.number == number) return helper.function;
  }
  return nullptr;
}

std::string helper_name(int32_t number) {
  if (number < 0 || static_cast<size_t>(number) >= std::size(kNames)) return "unknown";
  return kNames[number];
}

BpfHelper find_kernel_function(const std::string& name) {
  return name == "bpf_rdonly_cast" ? same : nullptr;  // the verifier makes a move of it
}

}  // namespace ebpf::bench

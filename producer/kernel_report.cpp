// SPDX-License-Identifier: Apache-2.0
#include "producer/kernel_report.h"

#include <bpf/bpf.h>

#include <cstdio>
#include <fstream>
#include <vector>

namespace ebpf {
namespace {

// Counting costs a system call per entry.
constexpr uint32_t kCountedEntriesMax = 8192;

template <size_t N>
void set_text(char (&to)[N], const std::string& text) {
  std::snprintf(to, N, "%s", text.c_str());
}

// Of the hooks of one program: the first, and how many there are.
void fill_hooks(ebpf_program_row* row, const bpf_program* program, const BpfLinks& links) {
  for (const BpfLink& link : links) {
    if (link.program != program) continue;
    if (row->hooks++ == 0) set_text(row->attached_to, link.hook);
  }
}

bool is_tail_called(const bpf_program* program, const bpf_object* object) {
  const bpf_map* stages = bpf_object__find_map_by_name(object, "stages_map");
  if (stages == nullptr) return false;
  bpf_prog_info info = {};
  uint32_t info_bytes = sizeof(info);
  const int program_fd = bpf_program__fd(program);
  if (program_fd < 0 || bpf_obj_get_info_by_fd(program_fd, &info, &info_bytes) != 0) return false;
  for (uint32_t key = 0; key < bpf_map__max_entries(stages); ++key) {
    uint32_t id = 0;
    if (bpf_map_lookup_elem(bpf_map__fd(stages), &key, &id) == 0 && id == info.id) return true;
  }
  return false;
}

// "memlock: 4096" of /proc/self/fdinfo/FD.
uint64_t charged_bytes(int fd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string line; std::getline(file, line);) {
    unsigned long long bytes;
    if (std::sscanf(line.c_str(), "memlock: %llu", &bytes) == 1) return bytes;
  }
  return EBPF_UNKNOWN;
}

bool is_hash(uint32_t type) {
  return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH ||
         type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

// Every entry of an array exists. A hash is walked, up to a bound.
uint64_t count_entries(const bpf_map* map) {
  if (!is_hash(bpf_map__type(map))) return bpf_map__max_entries(map);
  std::vector<uint8_t> key(bpf_map__key_size(map));
  const int fd = bpf_map__fd(map);
  uint64_t count = 0;
  bool more = bpf_map_get_next_key(fd, nullptr, key.data()) == 0;
  while (more) {
    if (++count > kCountedEntriesMax) return EBPF_UNKNOWN;
    more = bpf_map_get_next_key(fd, key.data(), key.data()) == 0;
  }
  return count;
}

}  // namespace

std::vector<ebpf_program_row> program_rows(bpf_object* object, const BpfLinks& links) {
  std::vector<ebpf_program_row> rows;
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    const int fd = bpf_program__fd(program);
    if (fd < 0) continue;  // of the other back end: not loaded
    ebpf_program_row row = {};
    set_text(row.name, bpf_program__name(program));
    fill_hooks(&row, program, links);
    if (row.hooks == 0 && is_tail_called(program, object)) set_text(row.attached_to, "tail call");
    bpf_prog_info info = {};
    uint32_t info_bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &info_bytes) == 0) {
      row.instructions = info.xlated_prog_len / sizeof(bpf_insn);
      row.runs = info.run_cnt;
      row.run_ns = info.run_time_ns;
      row.misses = info.recursion_misses;
    }
    rows.push_back(row);
  }
  return rows;
}

std::vector<ebpf_map_row> map_rows(bpf_object* object, const EntriesUsed& known) {
  std::vector<ebpf_map_row> rows;
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    const int fd = bpf_map__fd(map);
    if (fd < 0) continue;
    ebpf_map_row row = {};
    set_text(row.name, bpf_map__name(map));
    row.type = bpf_map__type(map);
    row.key_bytes = bpf_map__key_size(map);
    row.value_bytes = bpf_map__value_size(map);
    row.max_entries = bpf_map__max_entries(map);
    if (!known || !known(row.name, &row.used)) row.used = count_entries(map);
    row.memory_bytes = charged_bytes(fd);
    rows.push_back(row);
  }
  return rows;
}

Result<UniqueFd> count_program_runs() {
  const int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (fd < 0) return errno_error("the kernel does not count the runs of programs", -fd);
  return UniqueFd(fd);
}

}  // namespace ebpf

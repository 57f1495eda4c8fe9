// SPDX-License-Identifier: Apache-2.0
// Runs the programs of a BPF object in user space, instruction by instruction, and counts. One
// CPU, one thread, no kernel: two runs of the same do the same on every machine. Addresses are
// those of this process; what is not in a map, on the stack or given by add_memory() is none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bpf_map.h"
#include "tests/bpf/bpf_programs.h"

namespace ebpf::bench {

struct BpfCounts {
  uint64_t instructions = 0;
  uint64_t tail_calls = 0;
  std::map<std::string, uint64_t> helpers;  // by name, without "bpf_"

  BpfCounts& operator+=(const BpfCounts& other);
};

// What a program can ask for.
struct BpfSurroundings {
  uint64_t task = 0;       // address of the current task
  uint64_t task_name = 0;  // of its name
  uint64_t thread = 0;
  uint64_t now_ns = 0;  // grows by itself
};

// What this machine does not know ends the run with a std::runtime_error that names it.
class BpfMachine {
 public:
  explicit BpfMachine(const std::string& object_path);
  // For tests: programs that need no file.
  BpfMachine(std::vector<test::ModelProgram> programs, const std::vector<test::ModelMap>& maps);
  BpfMachine(const BpfMachine&) = delete;

  BpfSurroundings surroundings;
  std::vector<std::string> events;  // what was sent to user space

  BpfMap* find_map(std::string_view name);  // by its name, or by the end of it; null: none
  BpfMap& map(std::string_view name);
  template <class T>
  T& first(std::string_view map_name) {
    const uint32_t key = 0;
    return *reinterpret_cast<T*>(map(map_name).find_or_add(&key));
  }
  void chain(std::string_view map_name, uint32_t index, std::string_view program);
  // Memory that programs may read, and loads through kernel pointers as well.
  void add_memory(const void* start, size_t bytes);

  // The context is `words`; programs cannot write there.
  BpfCounts run(std::string_view program, const std::vector<uint64_t>& words);

  // For helpers. Whether memory may be read; in a map or on the stack also be written.
  bool is_readable(uint64_t address, uint64_t bytes) const;
  bool is_writable(uint64_t address, uint64_t bytes) const;
  // A record that is written in place.
  uint64_t reserve(uint64_t bytes);
  uint64_t reserved_bytes(uint64_t address) const;  // 0: there is none
  void end_reserved(uint64_t address) { reserved_.erase(address); }

 private:
  friend class BpfRun;
  static constexpr size_t kFramesMax = 8;
  struct Reserved {
    std::unique_ptr<uint64_t[]> memory;
    uint64_t bytes;
  };

  void add_maps();
  const test::ModelProgram& program(std::string_view name) const;

  std::vector<test::ModelMap> models_;
  std::vector<test::ModelProgram> programs_;
  std::vector<std::unique_ptr<BpfMap>> maps_;
  std::map<uint64_t, uint64_t> memory_;  // start, bytes
  std::map<uint64_t, Reserved> reserved_;
  std::map<std::pair<const BpfMap*, uint32_t>, const test::ModelProgram*> chained_;
  uint64_t stack_[kFramesMax][512 / 8] = {};
};

}  // namespace ebpf::bench

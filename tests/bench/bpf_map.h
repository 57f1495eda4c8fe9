// SPDX-License-Identifier: Apache-2.0
// A BPF map of one CPU in the memory of this process. It never is full.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tests/bpf/bpf_programs.h"

namespace ebpf::bench {

// Whether the bytes at `address` lie within the `size` bytes from `start` on.
inline bool is_inside(uint64_t address, uint64_t bytes, uint64_t start, uint64_t size) {
  return address >= start && bytes <= size && address - start <= size - bytes;
}

// Keys of arrays are 4 bytes, also where the map says nothing of its keys.
class BpfMap {
 public:
  explicit BpfMap(const test::ModelMap& model);
  const std::string& name() const { return model_.name; }
  bpf_map_type type() const { return model_.type; }
  uint32_t value_bytes() const { return model_.value_bytes; }
  bool is_array() const;

  uint8_t* find(const void* key);
  // 0, or -errno as in the kernel.
  int64_t update(const void* key, const void* value, uint64_t flags);
  int64_t erase(const void* key);
  uint8_t* find_or_add(const void* key);
  // Whether the bytes are all in one value.
  bool holds(uint64_t address, uint64_t bytes) const;

 private:
  uint8_t* add(const std::string& key);

  test::ModelMap model_;
  std::map<std::string, std::unique_ptr<uint64_t[]>> values_;
};

}  // namespace ebpf::bench

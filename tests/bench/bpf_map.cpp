// SPDX-License-Identifier: Apache-2.0
#include "bpf_map.h"

#include <cerrno>
#include <cstring>

namespace ebpf::bench {

BpfMap::BpfMap(const test::ModelMap& model) : model_(model) {
  if (model.initial.empty()) return;
  const uint32_t key = 0;
  std::memcpy(find_or_add(&key), model.initial.data(), model.initial.size());
}

bool BpfMap::is_array() const {
  return model_.type == BPF_MAP_TYPE_ARRAY || model_.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         model_.type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

uint8_t* BpfMap::add(const std::string& key) {
  auto& memory = values_[key];
  memory = std::make_unique<uint64_t[]>((model_.value_bytes + 7) / 8);
  return reinterpret_cast<uint8_t*>(memory.get());
}

uint8_t* BpfMap::find_or_add(const void* key) {
  const std::string text(static_cast<const char*>(key), model_.key_bytes ? model_.key_bytes : 4);
  const auto found = values_.find(text);
  return found != values_.end() ? reinterpret_cast<uint8_t*>(found->second.get()) : add(text);
}

uint8_t* BpfMap::find(const void* key) {
  if (is_array()) {
    uint32_t index;
    std::memcpy(&index, key, sizeof index);
    return index < model_.max_entries ? find_or_add(key) : nullptr;
  }
  const std::string text(static_cast<const char*>(key), model_.key_bytes ? model_.key_bytes : 4);
  const auto found = values_.find(text);
  return found != values_.end() ? reinterpret_cast<uint8_t*>(found->second.get()) : nullptr;
}

int64_t BpfMap::update(const void* key, const void* value, uint64_t flags) {
  uint8_t* there = find(key);
  if (there && flags == BPF_NOEXIST) return -EEXIST;
  if (!there && flags == BPF_EXIST) return -ENOENT;
  if (!there && is_array()) return -E2BIG;
  std::memcpy(find_or_add(key), value, model_.value_bytes);
  return 0;
}

int64_t BpfMap::erase(const void* key) {
  if (is_array()) return -EINVAL;
  return values_.erase(std::string(static_cast<const char*>(key), model_.key_bytes)) ? 0 : -ENOENT;
}

bool BpfMap::holds(uint64_t address, uint64_t bytes) const {
  for (const auto& [key, memory] : values_) {
    if (is_inside(address, bytes, reinterpret_cast<uint64_t>(memory.get()), model_.value_bytes))
      return true;
  }
  return false;
}

}  // namespace ebpf::bench

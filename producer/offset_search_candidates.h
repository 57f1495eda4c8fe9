// SPDX-License-Identifier: Apache-2.0
// Candidates: the offsets at which one field may stand. Starts with all of them; every
// comparison with a known value leaves fewer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "producer/offset_search_reader.h"

namespace ebpf::search {

// An error that names the field it was met at.
inline Error field_error(const char* field, Error error) {
  error.message = std::string("offset search: ") + field + ": " + error.message;
  return error;
}

class Candidates {
 public:
  // Every multiple of `step` below `limit`.
  Candidates(const char* field, uint32_t step, uint32_t limit) : field_(field) {
    for (uint32_t offset = 0; offset < limit; offset += step) offsets_.push_back(offset);
  }

  // Keeps the offsets at which `window` holds `expected`.
  template <class T>
  void keep(const Window& window, T expected) {
    keep_if([&](uint32_t offset) { return window.holds(offset, expected); });
  }

  // Keeps the offsets at which a T stands for which test(value) holds.
  template <class T, class Test>
  void keep_value(const Window& window, Test&& test) {
    keep_if([&](uint32_t offset) {
      T value;
      return window.get(offset, &value) && test(value);
    });
  }

  // Keeps the offsets for which test(offset) holds. One comparison.
  template <class Test>
  void keep_if(Test&& test) {
    std::erase_if(offsets_, [&](uint32_t offset) { return !test(offset); });
    comparisons_++;
  }

  const std::vector<uint32_t>& offsets() const { return offsets_; }
  bool is_unique() const { return offsets_.size() == 1; }

  // The one that is left; none or several are an error that says how it came to that.
  Result<uint32_t> only() const {
    if (is_unique()) return offsets_.front();
    std::string text = std::to_string(offsets_.size()) + " offsets fit after " +
                       std::to_string(comparisons_) + " comparisons with known values";
    for (size_t i = 0; i < offsets_.size() && i < 4; i++)
      text += (i == 0 ? ": " : ", ") + std::to_string(offsets_[i]);
    return field_error(field_, {ENOENT, text + (offsets_.empty() ? "" : "; one was expected")});
  }

  // The same, stored in *slot.
  Result<> store(uint32_t* slot) const {
    auto found = only();
    if (!found) return found.error();
    *slot = *found;
    return Unit{};
  }

 private:
  const char* field_;
  std::vector<uint32_t> offsets_;
  uint32_t comparisons_ = 0;
};

}  // namespace ebpf::search

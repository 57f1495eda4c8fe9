// SPDX-License-Identifier: Apache-2.0
// What the fuzzers share: taking an input apart, and ending where something must hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace ebpf::fuzz {

inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// One printable line, as it may go to a terminal.
inline void must_be_line(const std::string& text) {
  must(!text.empty(), "an error says something");
  for (const char c : text) must(static_cast<uint8_t>(c) >= 0x20 && c != 0x7f, "no control byte");
}

// The input, from the front to the end; zeros behind it.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  size_t left() const { return left_; }
  const uint8_t* data() const { return data_; }

  template <class T>
  T take() {
    T value{};
    const size_t count = std::min(sizeof value, left_);
    std::memcpy(&value, data_, count);
    skip(count);
    return value;
  }
  std::string take_bytes(size_t count) {
    count = std::min(count, left_);
    std::string bytes(reinterpret_cast<const char*>(data_), count);
    skip(count);
    return bytes;
  }

 private:
  void skip(size_t count) {
    data_ += count;
    left_ -= count;
  }

  const uint8_t* data_;
  size_t left_;
};

}  // namespace ebpf::fuzz

// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or an Error, with std::expected's names (GCC 12 has that one only
// under -std=c++23). Internal to the project; not installed.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace ebpf {

// What went wrong: a positive errno value and one line for people.
struct Error {
  int code = 0;
  std::string message;
};

// An Error from errno: "what: Strerror text".
inline Error errno_error(const std::string& what, int code = errno) {
  return {code, what + ": " + std::strerror(code)};
}

struct Unit {};

template <class T = Unit>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace ebpf

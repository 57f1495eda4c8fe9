// SPDX-License-Identifier: Apache-2.0
// What came from outside must not reach a terminal or a log raw. Internal to the project;
// not installed.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace ebpf {

// Printable ASCII stays, a backslash is doubled, every other byte becomes \xNN.
inline std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      char code[5];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(byte));
      out += code;
    }
  }
  return out;
}

// A message in one line of at most so many bytes. A newline becomes "; ", other bytes that are
// not printable ASCII \xNN; a backslash stays, for what is quoted may be escaped already.
inline std::string one_line(std::string_view text, size_t most = 400) {
  std::string out;
  for (const char c : text) {
    if (out.size() + 4 > most) return out + "...";
    if (c == '\n') {
      out += "; ";
    } else {
      out += c == '\\' ? std::string(1, c) : escape({&c, 1});
    }
  }
  return out;
}

// The string in a fixed field that the peer may have left without a NUL.
template <size_t N>
std::string_view bounded_string(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

}  // namespace ebpf

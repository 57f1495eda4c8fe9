// SPDX-License-Identifier: Apache-2.0
// Conversations for tests of the inference: who says what, and what both ends make of it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/tools/infer/end.h"

namespace {

using infer_native::Call;
using infer_native::End;
using infer_native::Record;

struct Message {
  bool from_client;
  std::string bytes;
};
inline Message ask(std::string bytes) { return {true, std::move(bytes)}; }
inline Message tell(std::string bytes) { return {false, std::move(bytes)}; }

struct Told {
  int protocol;
  int type;
  bool is_likely;
  bool operator==(const Told&) const = default;
};
inline void PrintTo(const Told& told, std::ostream* out) {
  *out << told.protocol << " type " << told.type << (told.is_likely ? " likely" : "");
}

inline std::vector<Told> run(const std::vector<Message>& messages, bool is_client,
                             bool is_tcp = true) {
  End end;
  std::vector<Told> all;
  for (const Message& message : messages) {
    const bool sent = message.from_client == is_client;
    const Call call = {sent ? uint64_t{SOCK_DIR_SND} : uint64_t{SOCK_DIR_RCV}, is_tcp,
                       message.bytes.size(), message.bytes};
    for (const Record& record : end.take(call)) {
      all.push_back({record.protocol, record.type, record.is_likely});
    }
  }
  return all;
}

// Both ends tell the same, as long as nobody reads headers alone.
inline void expect(const std::vector<Message>& messages, const std::vector<Told>& wanted) {
  EXPECT_EQ(run(messages, true), wanted) << "client";
  EXPECT_EQ(run(messages, false), wanted) << "server";
}

inline Told certain(int protocol, int type) { return {protocol, type, false}; }
inline Told likely(int protocol, int type) { return {protocol, type, true}; }

inline std::string be(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; i--) text += static_cast<char>(value >> (8 * i));
  return text;
}
inline std::string le(uint64_t value, int bytes) {
  const std::string text = be(value, bytes);
  return {text.rbegin(), text.rend()};
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Runs the inference header natively, as the programs in the kernel run it for one end of a
// connection. Standard input, one call per line:
//
//   END DIRECTION IS_TCP TOTAL HEX     DIRECTION 0 sent, 1 received; HEX: the captured bytes
//   -                                  the next connection
//
// Standard output, one line per record that would be delivered, with the same END:
//
//   END DIRECTION TOTAL PROTOCOL TYPE IS_LIKELY
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "tests/tools/infer/end.h"

namespace {

using infer_native::Call;
using infer_native::End;

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

bool parse_hex(const std::string& text, std::string* bytes) {
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = value_of(text[i]);
    const int low = value_of(text[i + 1]);
    if (high < 0 || low < 0) return false;
    *bytes += static_cast<char>(high << 4 | low);
  }
  return true;
}

}  // namespace

int main() {
  std::map<std::string, End> ends;
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); number++) {
    if (line == "-") {
      ends.clear();
      std::puts("-");
      continue;
    }
    std::istringstream words(line);
    std::string name;
    std::string hex;
    Call call;
    if (!(words >> name >> call.direction >> call.is_tcp >> call.total >> hex) ||
        call.direction > 1 || call.is_tcp > 1 || !parse_hex(hex, &call.bytes) ||
        call.bytes.size() > call.total) {
      std::fprintf(stderr, "ebpf-infer: line %zu is not END DIRECTION IS_TCP TOTAL HEX\n", number);
      return 2;
    }
    for (const auto& record : ends[name].take(std::move(call))) {
      std::printf("%s %d %llu %d %d %d\n", name.c_str(), static_cast<int>(record.direction),
                  static_cast<unsigned long long>(record.total), record.protocol, record.type,
                  record.is_likely);
    }
  }
  return 0;
}

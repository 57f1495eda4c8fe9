// SPDX-License-Identifier: Apache-2.0
// A progress bar in one line of the terminal, on stderr; nothing where stderr is none.
#pragma once

#include <chrono>
#include <string>

namespace ebpf::ctl {

class Progress {
 public:
  Progress();
  ~Progress();  // clears the line

  // `share`: 0 to 1 of the way to the nearest limit; below 0: there is none. Draws a few times
  // each second at most.
  void show(double share, const std::string& text);

  // The line itself, `columns` wide.
  static std::string line(double share, const std::string& text, size_t columns);

 private:
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_;
};

// "512 B", "1.5 MB"
std::string bytes_text(uint64_t bytes);

}  // namespace ebpf::ctl

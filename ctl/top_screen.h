// SPDX-License-Identifier: Apache-2.0
// The terminal of `ebpfctl top`: the one file that knows ncurses is behind this.
#pragma once

#include <string>
#include <vector>

#include "ctl/top_model.h"
#include "libebpf/detail/result.h"

namespace ebpf::ctl {

class TopScreen {
 public:
  // Takes the terminal over until the screen is closed.
  static Result<TopScreen> open(bool color);
  TopScreen(TopScreen&& other) noexcept;
  TopScreen& operator=(TopScreen&&) = delete;
  ~TopScreen();

  size_t width() const;
  size_t height() const;
  // The last line of the screen is for `help`.
  void show(const std::vector<TopLine>& lines, const std::string& help);
  // The next key, or one of those below; never waits.
  static constexpr int kNoKey = -1;
  static constexpr int kResized = -2;
  static constexpr int kBackspace = -3;
  int key();

 private:
  explicit TopScreen(bool color) : color_(color), open_(true) {}

  bool color_;
  bool open_;
};

}  // namespace ebpf::ctl

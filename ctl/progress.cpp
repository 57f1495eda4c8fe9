// SPDX-License-Identifier: Apache-2.0
#include "ctl/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace ebpf::ctl {
namespace {

constexpr size_t kBarColumns = 24;
constexpr auto kInterval = std::chrono::milliseconds(200);

size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

std::string Progress::line(double share, const std::string& text, size_t columns) {
  std::string line;
  if (share >= 0) {
    const double part = std::min(share, 1.0);
    std::string bar(static_cast<size_t>(part * kBarColumns), '#');
    bar.resize(kBarColumns, '.');
    char percent[8];
    std::snprintf(percent, sizeof percent, "%3d%%", static_cast<int>(part * 100));
    line = "[" + bar + "] " + percent + "  ";
  }
  // One column stays free, so that no terminal begins a new line.
  return (line + text).substr(0, columns - 1);
}

void Progress::show(double share, const std::string& text) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now < next_) return;
  next_ = now + kInterval;
  std::fprintf(stderr, "\r%s\033[K", line(share, text, terminal_columns()).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

std::string bytes_text(uint64_t bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  auto size = static_cast<double>(bytes);
  size_t unit = 0;
  while (size >= 1000 && unit + 1 < std::size(units)) {
    size /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", size, units[unit]);
  return text;
}

}  // namespace ebpf::ctl

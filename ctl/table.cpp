// SPDX-License-Identifier: Apache-2.0
#include "ctl/table.h"

#include <pwd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

constexpr size_t kFactColumn = 24;

std::string padded(const std::string& text, size_t width, Align align) {
  const std::string space(width > text.size() ? width - text.size() : 0, ' ');
  return align == Align::kRight ? space + text : text + space;
}

}  // namespace

std::string Table::text(bool color) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(column.heading.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto line = [&](const auto& cell_of) {
    std::string out;
    for (size_t i = 0; i < columns_.size(); i++) {
      out += (i == 0 ? "" : "  ") + padded(cell_of(i), widths[i], columns_[i].align);
    }
    return out.erase(out.find_last_not_of(' ') + 1);
  };
  const std::string headings = line([&](size_t i) { return columns_[i].heading; });
  std::string out = (color ? "\033[1m" + headings + "\033[0m" : headings) + "\n";
  for (const auto& row : rows_) out += line([&](size_t i) { return row[i]; }) + "\n";
  return out;
}

void append_fact(std::string& out, const std::string& label, const std::string& value) {
  out += padded(label, kFactColumn, Align::kLeft) + value + "\n";
}

std::string seconds_text(uint64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%" PRIu64 ".%" PRIu64 " s", us / 1000000, us / 100000 % 10);
  return text;
}

std::string milliseconds_text(uint64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%" PRIu64 ".%03" PRIu64, us / 1000, us % 1000);
  return text;
}

// Reads the file itself: a lookup through NSS may load code and wait for a network.
std::string user_name(uint32_t uid) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/etc/passwd", "re"), std::fclose);
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  while (file && ::fgetpwent_r(file.get(), &entry, buffer, sizeof(buffer), &found) == 0) {
    if (found->pw_uid == uid) return escape(found->pw_name);
  }
  return std::to_string(uid);
}

std::string lanes_text(uint64_t mask) {
  std::string text;
  for (int first = 0; first < 64; first++) {
    if ((mask >> first & 1) == 0) continue;
    int last = first;
    while (last + 1 < 64 && (mask >> (last + 1) & 1) != 0) last++;
    text += (text.empty() ? "" : ",") + std::to_string(first);
    if (last > first) text += "-" + std::to_string(last);
    first = last;
  }
  return text.empty() ? "none" : text;
}

}  // namespace ebpf::ctl

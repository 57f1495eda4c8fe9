// SPDX-License-Identifier: Apache-2.0
// Columns that line up: numbers to the right, names to the left.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ebpf::ctl {

enum class Align { kLeft, kRight };

struct Column {
  std::string heading;
  Align align = Align::kRight;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell per column, safe to print (escaped where it is not ours).
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // Headings and rows, two spaces between the columns, none at the ends of lines.
  std::string text(bool color) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "Label            value"
void append_fact(std::string& out, const std::string& label, const std::string& value);

std::string seconds_text(uint64_t us);       // "12.3 s"
std::string milliseconds_text(uint64_t us);  // "0.123"
std::string user_name(uint32_t uid);         // of /etc/passwd, escaped; else the number
std::string lanes_text(uint64_t mask);       // "0-3,7"; "none"

}  // namespace ebpf::ctl

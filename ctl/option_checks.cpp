// SPDX-License-Identifier: Apache-2.0
// What the values of options must be, and which right word is the nearest to a wrong one.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <numeric>

#include "ctl/command_line.h"
#include "libebpf/detail/escape.h"

namespace ebpf::ctl {
namespace {

constexpr size_t kShownBytes = 40;

// Insertions, deletions, replacements and swaps of neighbours that make one word the other.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); i++) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

// The sequence that starts at text[at]: its length, or 0 where it is not UTF-8.
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned lead = byte(at);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (lead > 0xf4) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(at + 1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool outside = (lead == 0xed && second > 0x9f) || (lead == 0xf4 && second > 0x8f);
  return overlong || outside ? 0 : length;
}

bool is_printable_utf8(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const auto lead = static_cast<unsigned char>(text[at]);
    const bool control = lead < 0x20 || lead == 0x7f ||
                         (lead == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0);
    if (length == 0 || control) return false;
    at += length;
  }
  return true;
}

std::string brief(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

}  // namespace

std::string shown_word(const std::string& text) {
  std::string shown = escape(std::string_view(text).substr(0, kShownBytes));
  if (text.size() > kShownBytes) shown += "...";
  return "'" + shown + "'";
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() > kShownBytes) return "";
  // A third of the word may be wrong; of a short one, a letter or two.
  size_t nearest = std::max<size_t>(word.size() / 3, 2) + 1;
  const std::string* found = nullptr;
  for (const std::string& candidate : candidates) {
    const bool begins = word.size() >= 2 && candidate.rfind(word, 0) == 0;
    const size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance >= nearest || distance >= candidate.size()) continue;
    nearest = distance;
    found = &candidate;
  }
  return found ? "; did you mean " + *found + "?" : "";
}

CLI::Validator one_of(std::vector<std::string> words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : "|") + word;
  return {[words, all](std::string& text) {
            if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
            return shown_word(text) + " is none of " + all + did_you_mean(text, words);
          },
          all, "one_of"};
}

CLI::Validator whole_number(uint64_t min, uint64_t max) {
  const std::string range = std::to_string(min) + " to " + std::to_string(max);
  return {[min, max, range](std::string& text) {
            uint64_t number = 0;
            const char* end = text.data() + text.size();
            const auto read = std::from_chars(text.data(), end, number);
            const bool plain =
                read.ec == std::errc() && read.ptr == end && (text.size() == 1 || text[0] != '0');
            if (plain && number >= min && number <= max) return std::string();
            return shown_word(text) + " is no whole number from " + range;
          },
          "NUMBER", "whole_number"};
}

CLI::Validator decimal_number(double min, double max) {
  const std::string range = brief(min) + " to " + brief(max);
  return {[min, max, range](std::string& text) {
            double number = 0;
            const char* end = text.data() + text.size();
            const auto read = std::from_chars(text.data(), end, number, std::chars_format::fixed);
            const bool plain = read.ec == std::errc() && read.ptr == end;
            if (plain && number >= min && number <= max) return std::string();
            return shown_word(text) + " is no number from " + range;
          },
          "NUMBER", "decimal_number"};
}

CLI::Validator printable_text(size_t min_bytes, size_t max_bytes) {
  return {[min_bytes, max_bytes](std::string& text) {
            if (text.size() < min_bytes || text.size() > max_bytes) {
              return shown_word(text) + " has " + std::to_string(text.size()) +
                     " bytes, must have " + std::to_string(min_bytes) + " to " +
                     std::to_string(max_bytes);
            }
            if (is_printable_utf8(text)) return std::string();
            return shown_word(text) + " has bytes that are not printable UTF-8";
          },
          "TEXT", "printable_text"};
}

}  // namespace ebpf::ctl

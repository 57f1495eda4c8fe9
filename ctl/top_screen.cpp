// SPDX-License-Identifier: Apache-2.0
#include "ctl/top_screen.h"

#define NCURSES_NOMACROS
#include <curses.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace ebpf::ctl {
namespace {

constexpr short kAlertPair = 1;
constexpr int kEscapeDelayMs = 50;

int attribute(LineKind kind, bool color) {
  switch (kind) {
    case LineKind::kTitle:
      return static_cast<int>(A_BOLD);
    case LineKind::kHeading:
      return static_cast<int>(A_REVERSE);
    case LineKind::kAlert:
      return static_cast<int>(color ? static_cast<chtype>(COLOR_PAIR(kAlertPair)) : A_BOLD);
    default:
      return static_cast<int>(A_NORMAL);
  }
}

}  // namespace

Result<TopScreen> TopScreen::open(bool color) {
  // initscr() would end the program where the terminal is not known.
  const char* terminal = std::getenv("TERM");
  if (terminal == nullptr || ::newterm(nullptr, stdout, stdin) == nullptr) {
    return Error{ENOTTY, std::string("the terminal ($TERM) ") +
                             (terminal ? "is not known" : "is not set") + "; --batch needs none"};
  }
  ::cbreak();
  ::noecho();
  ::nodelay(stdscr, TRUE);
  ::keypad(stdscr, TRUE);
  ::set_escdelay(kEscapeDelayMs);
  ::curs_set(0);
  color = color && ::has_colors();
  if (color) {
    ::start_color();
    ::use_default_colors();
    ::init_pair(kAlertPair, COLOR_RED, -1);
  }
  return TopScreen(color);
}

TopScreen::TopScreen(TopScreen&& other) noexcept
    : color_(other.color_), open_(std::exchange(other.open_, false)) {}

TopScreen::~TopScreen() {
  if (open_) ::endwin();
}

size_t TopScreen::width() const { return static_cast<size_t>(COLS); }
size_t TopScreen::height() const { return static_cast<size_t>(LINES); }

void TopScreen::show(const std::vector<TopLine>& lines, const std::string& help) {
  ::erase();
  const int rows = LINES - 1;
  for (int row = 0; row < rows && static_cast<size_t>(row) < lines.size(); row++) {
    const TopLine& line = lines[static_cast<size_t>(row)];
    std::string text = line.text.substr(0, width());
    if (line.kind == LineKind::kHeading) text.resize(width(), ' ');
    ::attrset(attribute(line.kind, color_));
    ::mvaddnstr(row, 0, text.c_str(), COLS);
  }
  ::attrset(static_cast<int>(A_BOLD));
  // Not the very last cell: writing there scrolls some terminals.
  if (rows >= 0) ::mvaddnstr(rows, 0, help.c_str(), COLS - 1);
  ::attrset(static_cast<int>(A_NORMAL));
  ::refresh();
}

int TopScreen::key() {
  const int key = ::getch();
  if (key == ERR) return kNoKey;
  if (key == KEY_RESIZE) return kResized;
  if (key == KEY_BACKSPACE) return kBackspace;
  return key;
}

}  // namespace ebpf::ctl

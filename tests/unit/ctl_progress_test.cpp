// SPDX-License-Identifier: Apache-2.0
// The progress bar of `ebpfctl record`, on a pseudo-terminal and off it.
#include "ctl/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libebpf/detail/unique_fd.h"

namespace ebpf::ctl {
namespace {

// What is written to stderr while it stands at `to`.
template <class Function>
void with_stderr(int to, Function&& function) {
  std::fflush(stderr);
  const UniqueFd kept(dup(STDERR_FILENO));
  ASSERT_GE(dup2(to, STDERR_FILENO), 0);
  function();
  std::fflush(stderr);
  dup2(kept.get(), STDERR_FILENO);
}

std::string read_some(int fd) {
  char bytes[512];
  const ssize_t count = read(fd, bytes, sizeof bytes);
  return count > 0 ? std::string(bytes, static_cast<size_t>(count)) : "";
}

void show_half() {
  Progress progress;
  progress.show(0.5, "3 of 6 records, and more words than there is room for");
}

TEST(CtlProgress, DrawsOneLineThatFitsTheTerminalAndClearsIt) {
  const UniqueFd ours(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_GE(ours.get(), 0);
  ASSERT_EQ(grantpt(ours.get()), 0);
  ASSERT_EQ(unlockpt(ours.get()), 0);
  const UniqueFd theirs(open(ptsname(ours.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_GE(theirs.get(), 0);
  winsize size{};
  size.ws_col = 48;
  ASSERT_EQ(ioctl(theirs.get(), TIOCSWINSZ, &size), 0);
  with_stderr(theirs.get(), show_half);
  const std::string line = Progress::line(0.5, "3 of 6 records, and more words", 48);
  EXPECT_EQ(line.size(), 47u);
  EXPECT_EQ(read_some(ours.get()), "\r" + line + "\033[K\r\033[K");
}

TEST(CtlProgress, WritesNothingWhereNobodyLooks) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  with_stderr(write_end.get(), show_half);
  EXPECT_EQ(read_some(read_end.get()), "");
}

TEST(CtlProgress, IsADoneBarAtMostAndNoneWithoutALimit) {
  EXPECT_EQ(Progress::line(7, "x", 80), "[########################] 100%  x");
  EXPECT_EQ(Progress::line(0, "x", 80), "[........................]   0%  x");
  EXPECT_EQ(Progress::line(-1, "512 B", 80), "512 B");
}

}  // namespace
}  // namespace ebpf::ctl

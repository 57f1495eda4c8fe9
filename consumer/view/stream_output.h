// SPDX-License-Identifier: Apache-2.0
// Output that grows record by record: written when there is enough of it, at once on a terminal,
// and given up when a signal says so and nobody takes it.
#pragma once

#include <csignal>
#include <string>

namespace ebpf {

class StreamOutput {
 public:
  // `stop`: set by the program's signal handler. Both outlive this.
  StreamOutput(int fd, const volatile std::sig_atomic_t& stop);

  // Append to it, then call flush_when_due().
  std::string& text() { return text_; }
  void flush_when_due();
  // Called between polls; a program that reads our lines waits for none of them.
  void flush();

  // errno of the first write that failed; 0: none.
  int error() const { return error_; }
  bool failed() const { return error_ != 0; }

 private:
  int fd_;
  const volatile std::sig_atomic_t& stop_;
  bool by_line_;
  int error_ = 0;
  std::string text_;
};

}  // namespace ebpf

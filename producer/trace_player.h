// SPDX-License-Identifier: Apache-2.0
// Reads a recorded trace from a file, or from anything that can be read once (format:
// libebpf/trace_file.h).
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libebpf/detail/result.h"
#include "libebpf/detail/unique_fd.h"
#include "producer/trace_frames.h"

namespace ebpf {

class TracePlayer {
 public:
  // Checks the header; the error says what is wrong with the file.
  static Result<std::unique_ptr<TracePlayer>> open(const std::string& path);

  using Step = TraceFrames::Step;  // never kMore
  // The next whole frame: record() or gap() are valid until the next call.
  Step next();
  // Back to the first frame. Only a regular file can do that.
  Result<> rewind();

  const ebpf_record& record() const { return frames_->record(); }
  const ebpf_gap& gap() const { return frames_->gap(); }
  // Payload bytes follow the record.
  const uint8_t* payload() const { return frames_->payload(); }
  uint64_t timestamp_us() const;
  uint32_t cap_bytes() const { return frames_->header().cap_bytes; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  TracePlayer(std::string path, UniqueFd fd);
  Result<> begin();
  bool fill();  // false: no byte more

  std::string path_;
  UniqueFd fd_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t bytes_read_ = 0;
  bool at_end_ = false;
  std::optional<TraceFrames> frames_;
  Step step_ = Step::kEnd;
};

}  // namespace ebpf

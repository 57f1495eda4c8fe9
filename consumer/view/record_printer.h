// SPDX-License-Identifier: Apache-2.0
// Prints records and gaps one after the other, in one of the styles of format.h.
#pragma once

#include "consumer/view/format.h"
#include "consumer/view/stream_output.h"

namespace ebpf {

enum class RecordStyle { kText, kJson, kHex };

// "text", "json", "hex"; anything else is text.
RecordStyle record_style(const std::string& name);

class RecordPrinter {
 public:
  // `output` outlives this.
  RecordPrinter(RecordStyle style, StreamOutput& output) : style_(style), output_(output) {}

  void record(const ebpf_record& record);
  void gap(const ebpf_gap& gap, uint32_t lane);

 private:
  RecordStyle style_;
  StreamOutput& output_;
};

}  // namespace ebpf

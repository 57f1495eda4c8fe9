// SPDX-License-Identifier: Apache-2.0
#include "consumer/view/record_printer.h"

namespace ebpf {

RecordStyle record_style(const std::string& name) {
  if (name == "json") return RecordStyle::kJson;
  return name == "hex" ? RecordStyle::kHex : RecordStyle::kText;
}

void RecordPrinter::record(const ebpf_record& record) {
  switch (style_) {
    case RecordStyle::kText:
      append_text_record(output_.text(), record);
      break;
    case RecordStyle::kJson:
      append_json_record(output_.text(), record);
      break;
    case RecordStyle::kHex:
      append_hex_record(output_.text(), record);
      break;
  }
  output_.flush_when_due();
}

void RecordPrinter::gap(const ebpf_gap& gap, uint32_t lane) {
  if (style_ == RecordStyle::kJson) {
    append_json_gap(output_.text(), gap, lane);
  } else {
    append_text_gap(output_.text(), gap);
  }
  output_.flush_when_due();
}

}  // namespace ebpf

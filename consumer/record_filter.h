// SPDX-License-Identifier: Apache-2.0
// Which records a consumer wants to see: struct ebpf_filter, checked and copied.
#pragma once

#include <cstdint>
#include <vector>

#include "libebpf/consumer.h"
#include "libebpf/detail/result.h"

namespace ebpf {

class RecordFilter {
 public:
  // EINVAL, with the field, for what cannot be meant.
  static Result<RecordFilter> create(const ebpf_filter& filter);

  // `data` may lie in shared memory and hold any bytes.
  bool wants(const SK_BPF_DATA& data) const;

 private:
  RecordFilter() = default;

  uint32_t protocols_ = 0;
  uint32_t directions_ = 0;
  uint32_t msg_types_ = 0;
  std::vector<uint32_t> process_ids_;  // sorted; empty: all
  std::vector<uint16_t> ports_;        // sorted; empty: all
};

}  // namespace ebpf

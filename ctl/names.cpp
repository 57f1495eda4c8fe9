// SPDX-License-Identifier: Apache-2.0
#include "ctl/names.h"

#include "libebpf/control.h"

namespace ebpf::ctl {

const char* state_name(uint8_t tracer_state) {
  switch (tracer_state) {
    case TRACER_INIT:
      return "init";
    case TRACER_STOP:
      return "stopped";
    case TRACER_RUNNING:
      return "running";
    default:
      return "unknown";
  }
}

const char* attach_name(uint8_t attach) {
  switch (attach) {
    case EBPF_ATTACH_NONE:
      return "none";
    case EBPF_ATTACH_RAW:
      return "raw";
    case EBPF_ATTACH_TRACEPOINT:
      return "tracepoint";
    case EBPF_ATTACH_DIRECT:
      return "direct";
    default:
      return "unknown";
  }
}

const char* transport_name(uint32_t transport) {
  switch (transport) {
    case EBPF_TRANSPORT_NONE:
      return "none";
    case EBPF_TRANSPORT_PERF:
      return "perf";
    case EBPF_TRANSPORT_RINGBUF:
      return "ringbuf";
    default:
      return "unknown";
  }
}

const char* pages_name(uint32_t pages) {
  switch (pages) {
    case EBPF_PAGES_PLAIN:
      return "plain";
    case EBPF_PAGES_TRANSPARENT:
      return "transparent huge";
    case EBPF_PAGES_HUGETLB:
      return "huge";
    default:
      return "unknown";
  }
}

std::string node_name(uint32_t node) {
  return node == EBPF_NUMA_ANY ? "any" : std::to_string(node);
}

const char* offsets_name(uint8_t source) {
  switch (source) {
    case EBPF_OFFSETS_NONE:
      return "none";
    case EBPF_OFFSETS_BTF:
      return "btf";
    case EBPF_OFFSETS_FILE:
      return "file";
    case EBPF_OFFSETS_SEARCH:
      return "search";
    default:
      return "unknown";
  }
}

}  // namespace ebpf::ctl

// SPDX-License-Identifier: Apache-2.0
#include "consumer/record_filter.h"

#include <algorithm>
#include <string>

#include "libebpf/control.h"

namespace ebpf {
namespace {

constexpr uint32_t kProtocols = (1u << EBPF_PROTOCOL_COUNT) - 1;
constexpr uint32_t kDirections = EBPF_FILTER_SND | EBPF_FILTER_RCV;
constexpr uint32_t kMsgTypes = EBPF_FILTER_NO_TYPE | EBPF_FILTER_REQUEST | EBPF_FILTER_RESPONSE;

Result<> check_mask(const char* field, uint32_t mask, uint32_t known) {
  if ((mask & ~known) == 0) return Unit{};
  return Error{EINVAL, std::string("filter.") + field + " is " + std::to_string(mask) +
                           ", expected bits of " + std::to_string(known) + " only"};
}

// Sorted, for a binary search: filters are short, and the records many.
template <class T>
Result<std::vector<T>> take_list(const char* field, const T* items, uint32_t count) {
  if (count == 0) return std::vector<T>();
  if (items == nullptr || count > EBPF_FILTER_LIST_MAX) {
    return Error{EINVAL, std::string("filter.") + field + " has " + std::to_string(count) +
                             " entries" + (items == nullptr ? " at NULL" : "") +
                             ", possible are 0 to " + std::to_string(EBPF_FILTER_LIST_MAX)};
  }
  std::vector<T> sorted(items, items + count);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

template <class T>
bool holds(const std::vector<T>& sorted, T value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

// A caller with a newer header may have more fields, if they ask for nothing.
bool size_is_good(const ebpf_filter& filter) {
  if (filter.size < sizeof filter || filter.size > 4096) return false;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&filter);
  return std::all_of(bytes + sizeof filter, bytes + filter.size, [](uint8_t b) { return b == 0; });
}

bool in_mask(uint32_t mask, uint32_t bit) { return bit < 32 && (mask >> bit & 1) != 0; }

}  // namespace

Result<RecordFilter> RecordFilter::create(const ebpf_filter& filter) {
  if (!size_is_good(filter)) {
    return Error{EINVAL, "filter.size is " + std::to_string(filter.size) +
                             ", expected sizeof(struct ebpf_filter), " +
                             std::to_string(sizeof filter)};
  }
  if (auto ok = check_mask("protocols", filter.protocols, kProtocols); !ok) return ok.error();
  if (auto ok = check_mask("directions", filter.directions, kDirections); !ok) return ok.error();
  if (auto ok = check_mask("msg_types", filter.msg_types, kMsgTypes); !ok) return ok.error();
  if (filter.reserved != 0) return Error{EINVAL, "filter.reserved is not 0"};
  auto process_ids = take_list("process_ids", filter.process_ids, filter.process_count);
  if (!process_ids) return process_ids.error();
  auto ports = take_list("ports", filter.ports, filter.port_count);
  if (!ports) return ports.error();

  RecordFilter taken;
  taken.protocols_ = filter.protocols;
  taken.directions_ = filter.directions;
  taken.msg_types_ = filter.msg_types;
  taken.process_ids_ = std::move(*process_ids);
  taken.ports_ = std::move(*ports);
  return taken;
}

bool RecordFilter::wants(const SK_BPF_DATA& data) const {
  if (protocols_ != 0 && !in_mask(protocols_, ebpf_protocol_index(data.l7_protocal_hint))) {
    return false;
  }
  if (directions_ != 0 && !in_mask(directions_, data.direction)) return false;
  if (msg_types_ != 0 && !in_mask(msg_types_, data.msg_type)) return false;
  if (!process_ids_.empty() && !holds(process_ids_, data.process_id)) return false;
  return ports_.empty() || holds(ports_, data.tuple.rport) || holds(ports_, data.tuple.lport);
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "producer/filters.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

namespace ebpf {
namespace {

constexpr uint32_t kPidMax = 4194304;  // PID_MAX_LIMIT of 64-bit kernels
constexpr size_t kListMax = 4096;

// In the order of ebpf_protocol_index(), which begins with what is not known.
constexpr const char* kProtocolNames[] = {"",      "http1", "http2", "dubbo",
                                          "mysql", "redis", "kafka", "dns"};

// Calls `add` for every word between commas, until one is refused.
Result<> for_each_word(const std::string& text,
                       const std::function<Result<>(const std::string&)>& add) {
  size_t count = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    if (++count > kListMax) {
      return Error{EINVAL, "must be at most " + std::to_string(kListMax) + " words"};
    }
    if (auto added = add(text.substr(at, comma - at)); !added) return added;
    at = comma + 1;
  }
  return Unit{};
}

// Decimal digits only, within bounds; -1 otherwise.
int64_t to_number(const std::string& word, uint32_t low, uint32_t high) {
  const bool digits = !word.empty() && word.size() <= 10 &&
                      word.find_first_not_of("0123456789") == std::string::npos;
  const int64_t value = digits ? std::strtoll(word.c_str(), nullptr, 10) : -1;
  return value >= low && value <= high ? value : -1;
}

Error wrong(const std::string& right, const std::string& word) {
  return {EINVAL, "must be " + right + ", not '" + word + "'"};
}

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ",") + word;
  return all;
}

std::string describe_ports(const std::vector<PortRange>& ranges) {
  std::vector<std::string> words;
  for (const PortRange& range : ranges) {
    words.push_back(std::to_string(range.first) +
                    (range.first == range.last ? "" : "-" + std::to_string(range.last)));
  }
  return join(words);
}

std::string describe_pids(const std::vector<uint32_t>& pids) {
  std::vector<std::string> words;
  for (const uint32_t pid : pids) words.push_back(std::to_string(pid));
  return join(words);
}

std::string describe_protocols(uint32_t protocols) {
  std::vector<std::string> words;
  for (uint32_t i = 1; i < std::size(kProtocolNames); i++) {
    if (protocols & PROTOCOL_BIT(i)) words.emplace_back(kProtocolNames[i]);
  }
  return join(words);
}

void set_ports(std::vector<port_filter>& filters, const std::vector<PortRange>& ranges,
               uint64_t port_filter::*bits) {
  for (const PortRange& range : ranges) {
    for (uint32_t port = range.first; port <= range.last; port++) {
      filters[port / 64].*bits |= uint64_t{1} << port % 64;
    }
  }
}

}  // namespace

Result<uint32_t> parse_protocols(const std::string& text) {
  if (text == "all") return PROTOCOLS_ALL;
  uint32_t protocols = 0;
  const auto added = for_each_word(text, [&](const std::string& word) -> Result<> {
    for (uint32_t i = 1; i < std::size(kProtocolNames); i++) {
      if (word != kProtocolNames[i]) continue;
      protocols |= PROTOCOL_BIT(i);
      return Unit{};
    }
    return wrong("'all', or a list of " + describe_protocols(PROTOCOLS_ALL), word);
  });
  if (!added) return added.error();
  return protocols;
}

Result<std::vector<PortRange>> parse_ports(const std::string& text) {
  std::vector<PortRange> ranges;
  const auto added = for_each_word(text, [&](const std::string& word) -> Result<> {
    const size_t dash = word.find('-');
    const int64_t first = to_number(word.substr(0, dash), 1, 65535);
    const int64_t last =
        dash == std::string::npos ? first : to_number(word.substr(dash + 1), 1, 65535);
    if (first < 0 || last < first) {
      return wrong("ports from 1 to 65535 or ranges of them, as in 80,8000-8100", word);
    }
    ranges.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
    return Unit{};
  });
  if (!added) return added.error();
  return ranges;
}

Result<std::vector<uint32_t>> parse_pids(const std::string& text) {
  std::vector<uint32_t> pids;
  const auto added = for_each_word(text, [&](const std::string& word) -> Result<> {
    const int64_t pid = to_number(word, 1, kPidMax);
    if (pid < 0) return wrong("process ids from 1 to " + std::to_string(kPidMax), word);
    pids.push_back(static_cast<uint32_t>(pid));
    return Unit{};
  });
  if (!added) return added.error();
  return pids;
}

Result<std::vector<std::string>> parse_names(const std::string& text) {
  std::vector<std::string> names;
  const auto added = for_each_word(text, [&](const std::string& word) -> Result<> {
    if (word.empty() || word.size() >= EBPF_COMM_BYTES) {
      return wrong("names of 1 to 15 bytes (the kernel keeps no more of a name)", word);
    }
    names.push_back(word);
    return Unit{};
  });
  if (!added) return added.error();
  return names;
}

std::string describe(const TracerFilters& filters) {
  std::string line;
  const auto add = [&](const char* what, const std::string& list) {
    if (!list.empty()) line += (line.empty() ? "" : "; ") + std::string(what) + " " + list;
  };
  if (filters.protocols != PROTOCOLS_ALL) add("protocols", describe_protocols(filters.protocols));
  add("allow ports", describe_ports(filters.allow_ports));
  add("deny ports", describe_ports(filters.deny_ports));
  add("allow pids", describe_pids(filters.allow_pids));
  add("deny pids", describe_pids(filters.deny_pids));
  add("allow names", join(filters.allow_names));
  add("deny names", join(filters.deny_names));
  return line;
}

uint32_t filter_bits(const TracerFilters& filters) {
  uint32_t bits = 0;
  if (!filters.allow_ports.empty() || !filters.deny_ports.empty()) bits |= FILTER_PORTS;
  if (!filters.allow_pids.empty()) bits |= FILTER_ONLY_PIDS;
  if (!filters.deny_pids.empty()) bits |= FILTER_PIDS;
  if (!filters.allow_names.empty()) bits |= FILTER_ONLY_NAMES;
  if (!filters.deny_names.empty()) bits |= FILTER_NAMES;
  return bits;
}

std::vector<port_filter> port_filters(const TracerFilters& filters) {
  const uint64_t by_default = filters.allow_ports.empty() ? ~uint64_t{0} : 0;
  std::vector<port_filter> entries(PORT_FILTER_ENTRIES, {by_default, 0});
  set_ports(entries, filters.allow_ports, &port_filter::allowed);
  set_ports(entries, filters.deny_ports, &port_filter::denied);
  return entries;
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "ctl/seq_ranges.h"

#include <algorithm>

namespace ebpf::ctl {
namespace {

constexpr size_t kRangesMax = 64;

}  // namespace

SeqRange SeqRanges::place(uint32_t seq, uint64_t bytes) const {
  // The first one gets room for earlier ones that come later.
  if (seen_.empty()) return {(uint64_t{1} << 32) + seq, (uint64_t{1} << 32) + seq + bytes};
  const auto distance = static_cast<int32_t>(seq - static_cast<uint32_t>(top_));
  const uint64_t begin = top_ + static_cast<uint64_t>(int64_t{distance});
  return {begin, begin + bytes};
}

std::vector<SeqRange> SeqRanges::missing(SeqRange range) const {
  std::vector<SeqRange> parts;
  for (const SeqRange& seen : seen_) {
    if (seen.end <= range.begin) continue;
    if (seen.begin >= range.end) break;
    if (seen.begin > range.begin) parts.push_back({range.begin, seen.begin});
    range.begin = seen.end;
    if (range.begin >= range.end) return parts;
  }
  if (range.begin < range.end) parts.push_back(range);
  return parts;
}

void SeqRanges::add(SeqRange range) {
  top_ = std::max(top_, range.end);
  const auto touches = [&](const SeqRange& seen) {
    return seen.end >= range.begin && seen.begin <= range.end;
  };
  for (const SeqRange& seen : seen_) {
    if (!touches(seen)) continue;
    range.begin = std::min(range.begin, seen.begin);
    range.end = std::max(range.end, seen.end);
  }
  std::erase_if(seen_, touches);
  const auto place =
      std::lower_bound(seen_.begin(), seen_.end(), range,
                       [](const SeqRange& a, const SeqRange& b) { return a.begin < b.begin; });
  seen_.insert(place, range);
  if (seen_.size() <= kRangesMax) return;
  // What is missing that far back will not come any more.
  seen_[1].begin = seen_[0].begin;
  seen_.erase(seen_.begin());
}

}  // namespace ebpf::ctl

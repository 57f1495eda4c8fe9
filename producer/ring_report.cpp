// SPDX-License-Identifier: Apache-2.0
#include "producer/ring_report.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "libebpf/shm_atomic.h"

namespace ebpf {
namespace {

constexpr uint64_t kSecondUs = 1'000'000;
constexpr int kHintTries = 4;

// What a process is, and whether it is stopped.
struct Process {
  std::string comm;
  bool is_stopped = false;
};

Process look_at(int32_t pid) {
  Process process;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat", std::ios::binary);
  const std::string line((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // "PID (COMM) STATE …", where COMM may hold anything, brackets and newlines too.
  const size_t open = line.find('(');
  const size_t close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return process;
  process.comm = line.substr(open + 1, close - open - 1);
  const char state = close + 2 < line.size() ? line[close + 2] : '?';
  process.is_stopped = state == 'T' || state == 't';
  return process;
}

// A lane of a control page, read until two looks agree: it changes while we read.
struct Hints {
  uint64_t join_seq;
  uint64_t next_seq;
  uint64_t filtered;
  uint64_t lost;

  bool operator==(const Hints&) const = default;
};

Hints read_hints(const ebpf_control_lane& lane) {
  const auto once = [&lane] {
    return Hints{shm_load_relaxed_u64(&lane.join_seq), shm_load_relaxed_u64(&lane.next_seq),
                 shm_load_relaxed_u64(&lane.filtered), shm_load_relaxed_u64(&lane.lost)};
  };
  Hints hints = once();
  for (int tries = 0; tries < kHintTries; ++tries) {
    const Hints again = once();
    if (again == hints) break;
    hints = again;
  }
  return hints;
}

template <size_t N>
void set_bytes(char (&to)[N], const std::string& text) {
  std::memcpy(to, text.data(), std::min(text.size(), N - 1));
}

}  // namespace

// ---- history ------------------------------------------------------------------------

void PublishHistory::add(uint64_t now_us, const uint64_t* records, uint64_t bytes) {
  if (!samples_.empty() && now_us - samples_.back().at_us < kSampleUs) return;
  if (samples_.size() == kSamplesMax) thin_out();
  uint64_t sum = 0;
  for (uint32_t lane = 0; lane < lane_count_; ++lane) sum += records[lane];
  samples_.push_back({now_us, bytes, sum});
  records_.insert(records_.end(), records, records + lane_count_);
}

// Of the older half, every second sample goes.
void PublishHistory::thin_out() {
  size_t kept = 0;
  for (size_t i = 0; i < samples_.size(); ++i) {
    if (i < samples_.size() / 2 && i % 2 == 1) continue;
    samples_[kept] = samples_[i];
    std::copy_n(records_.begin() + static_cast<ptrdiff_t>(i * lane_count_), lane_count_,
                records_.begin() + static_cast<ptrdiff_t>(kept * lane_count_));
    ++kept;
  }
  samples_.resize(kept);
  records_.resize(kept * lane_count_);
}

uint64_t PublishHistory::age_us(uint32_t lane, uint64_t record, uint64_t now_us) const {
  // The first sample that had it; it was published somewhere after the one before.
  size_t low = 0;
  size_t high = samples_.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (records(middle, lane) > record) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  if (low == samples_.size()) return samples_.empty() ? 0 : now_us - samples_.back().at_us;
  if (low == 0) return now_us - samples_[0].at_us;
  const uint64_t before = records(low - 1, lane);
  const double share =
      static_cast<double>(record - before) / static_cast<double>(records(low, lane) - before);
  const auto span = static_cast<double>(samples_[low].at_us - samples_[low - 1].at_us);
  return now_us - samples_[low - 1].at_us - static_cast<uint64_t>(share * span);
}

PublishHistory::Rate PublishHistory::rate() const {
  if (samples_.size() < 2) return {};
  const Sample& last = samples_.back();
  size_t first = samples_.size() - 2;
  while (first > 0 && last.at_us - samples_[first].at_us < kSecondUs) --first;
  const auto span_s = static_cast<double>(last.at_us - samples_[first].at_us) / kSecondUs;
  const auto per_second = [span_s](uint64_t count) {
    return static_cast<uint64_t>(static_cast<double>(count) / span_s + 0.5);
  };
  return {per_second(last.sum - samples_[first].sum),
          per_second(last.bytes - samples_[first].bytes)};
}

// ---- report -------------------------------------------------------------------------

RingReport::RingReport(ConsumerSlots& slots, const RingWriter& writer)
    : slots_(slots), writer_(writer), history_(writer.header().lane_count) {}

void RingReport::sample(uint64_t now_us) {
  uint64_t records[EBPF_LANES_MAX] = {};
  uint64_t bytes = 0;
  for (uint32_t lane = 0; lane < slots_.lane_count(); ++lane) {
    records[lane] = writer_.published(lane);
    bytes += writer_.written_bytes(lane);
  }
  history_.add(now_us, records, bytes);
}

void RingReport::fill(ebpf_msg_ring* ring, uint32_t after_id, uint64_t now_us) const {
  const ebpf_ring_header& header = writer_.header();
  ring->epoch = header.epoch;
  ring->lane_count = header.lane_count;
  ring->window_segments = header.window_segments;
  ring->segment_bytes = writer_.segment_bytes();
  ring->block_count = header.block_count;
  ring->parked_blocks = writer_.parked_blocks();
  ring->max_consumers = header.max_consumers;
  ring->window_bytes =
      uint64_t{header.lane_count} * header.window_segments * writer_.segment_bytes();
  for (uint32_t lane = 0; lane < header.lane_count; ++lane) {
    ring->window_records += writer_.published(lane) - writer_.oldest_record(lane);
  }
  const PublishHistory::Rate rate = history_.rate();
  ring->records_per_s = rate.records_per_s;
  ring->bytes_per_s = rate.bytes_per_s;
  ring->window_us = rate.bytes_per_s == 0
                        ? EBPF_UNKNOWN
                        : static_cast<uint64_t>(static_cast<double>(ring->window_bytes) /
                                                static_cast<double>(rate.bytes_per_s) * kSecondUs);

  std::vector<ConsumerInfo> infos = slots_.list();
  ring->consumer_count = static_cast<uint32_t>(infos.size());
  infos.erase(std::remove_if(infos.begin(), infos.end(),
                             [after_id](const ConsumerInfo& info) { return info.id <= after_id; }),
              infos.end());
  std::sort(infos.begin(), infos.end(),
            [](const ConsumerInfo& a, const ConsumerInfo& b) { return a.id < b.id; });
  ring->row_count = static_cast<uint32_t>(std::min<size_t>(infos.size(), EBPF_ROWS_PER_PAGE));
  ring->more = static_cast<uint32_t>(infos.size()) - ring->row_count;
  for (uint32_t i = 0; i < ring->row_count; ++i) fill_row(&ring->rows[i], infos[i], now_us);
}

// A consumer's own words are bounded by what was published, and made to add up: a hostile one can
// tell nonsense about itself, and nothing else.
void RingReport::fill_row(ebpf_consumer_row* row, const ConsumerInfo& info, uint64_t now_us) const {
  const Process process = look_at(info.pid);
  row->id = info.id;
  row->pid = info.pid;
  row->uid = info.uid;
  row->wakeups = info.wakeups;
  row->attached_us = now_us > info.attached_us ? now_us - info.attached_us : 0;
  std::memcpy(row->name, info.name, sizeof(row->name));
  set_bytes(row->process, process.comm);

  const ebpf_control_page* page = slots_.mapped_page(info.id);
  if (page == nullptr) return;
  bool is_lapped = false;
  for (uint32_t lane = 0; lane < slots_.lane_count(); ++lane) {
    const Hints hints = read_hints(page->lanes[lane]);
    if (hints.next_seq == kNotJoined || hints.join_seq == kNotJoined) continue;
    const uint64_t published = writer_.published(lane);
    const uint64_t next = std::min(hints.next_seq - writer_.initial_seq(), published);
    const uint64_t join = std::min(hints.join_seq - writer_.initial_seq(), next);
    const uint64_t passed = next - join;
    const uint64_t lost = std::min(hints.lost, passed);
    const uint64_t filtered = std::min(hints.filtered, passed - lost);
    row->lanes |= uint64_t{1} << lane;
    row->position += next;
    row->published += published - join;
    row->lost += lost;
    row->filtered += filtered;
    row->delivered += passed - lost - filtered;
    row->unread += published - next;
    if (published > next) row->lag_us = std::max(row->lag_us, history_.age_us(lane, next, now_us));
    if (next < writer_.oldest_record(lane)) is_lapped = true;
  }
  const bool sleeps = shm_load_relaxed_u32(&page->sleeping) != EBPF_AWAKE;
  row->state = process.is_stopped ? EBPF_CONSUMER_STOPPED
               : is_lapped        ? EBPF_CONSUMER_LAPPED
               : sleeps           ? EBPF_CONSUMER_ASLEEP
                                  : EBPF_CONSUMER_AWAKE;
}

}  // namespace ebpf

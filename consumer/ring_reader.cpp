// SPDX-License-Identifier: Apache-2.0
#include "consumer/ring_reader.h"

#include <algorithm>

namespace ebpf {

Result<std::unique_ptr<RingReader>> RingReader::create(const RingView& view,
                                                       ebpf_control_page* page, uint64_t lanes,
                                                       Join join) {
  std::unique_ptr<RingReader> reader(new RingReader(view));
  for (uint32_t lane = 0; lane < view.lane_count(); ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    LaneReader& added = reader->lanes_.emplace_back(reader->view_, lane, page);
    Result<> joined = Unit{};
    if (join == Join::kTail) joined = added.join_tail();
    if (join == Join::kOldest) joined = added.join_oldest();
    if (join == Join::kFirst) added.join_first();
    if (!joined) return joined.error();
    added.store_hints();
  }
  return reader;
}

Result<std::unique_ptr<RingReader>> RingReader::resume(const RingView& view,
                                                       ebpf_control_page* page,
                                                       const std::vector<ResumePoint>& points) {
  std::unique_ptr<RingReader> reader(new RingReader(view));
  for (const ResumePoint& point : points) {
    if (point.lane >= view.lane_count()) continue;
    LaneReader& added = reader->lanes_.emplace_back(reader->view_, point.lane, page);
    added.resume(point);
    added.store_hints();
  }
  return reader;
}

Result<std::unique_ptr<RingReader>> RingReader::resume_checked(
    const RingView& view, ebpf_control_page* page, uint64_t lanes,
    const std::vector<ResumePoint>& points) {
  std::unique_ptr<RingReader> reader(new RingReader(view));
  for (const ResumePoint& point : points) {
    if (point.lane < view.lane_count()) continue;
    return Error{EINVAL, "there is no lane " + std::to_string(point.lane) +
                             " to resume: the producer has " + std::to_string(view.lane_count())};
  }
  for (uint32_t lane = 0; lane < view.lane_count(); ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    LaneReader& added = reader->lanes_.emplace_back(reader->view_, lane, page);
    const auto point = std::find_if(points.begin(), points.end(),
                                    [lane](const ResumePoint& p) { return p.lane == lane; });
    if (point == points.end()) {
      added.join_first();
    } else if (auto resumed = added.resume_checked(*point); !resumed) {
      return resumed.error();
    }
    added.store_hints();
  }
  return reader;
}

uint32_t RingReader::read(uint32_t budget, Sink& sink) {
  if (lanes_.empty()) return 0;
  const uint32_t share = budget / static_cast<uint32_t>(lanes_.size());
  const uint32_t turn = std::min(budget, std::max<uint32_t>(share, 16));
  uint32_t delivered = 0;
  for (size_t i = 0; i < lanes_.size() && !sink.stop; ++i) {
    LaneReader& lane = lanes_[next_lane_];
    next_lane_ = (next_lane_ + 1) % lanes_.size();
    delivered += lane.read(turn, sink);
    lane.store_hints();
  }
  return delivered;
}

bool RingReader::dry() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const LaneReader& l) { return l.dry(); });
}

bool RingReader::has_more() const {
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [](const LaneReader& l) { return l.has_more(); });
}

void RingReader::orphan() {
  for (LaneReader& lane : lanes_) lane.orphan();
}

void RingReader::close_account(Sink& sink) {
  for (LaneReader& lane : lanes_) lane.close_account(sink);
}

void RingReader::leave() {
  for (LaneReader& lane : lanes_) lane.leave();
}

std::vector<ResumePoint> RingReader::resume_points() const {
  std::vector<ResumePoint> points;
  for (const LaneReader& lane : lanes_) points.push_back(lane.resume_point());
  return points;
}

LaneCounts RingReader::counts() const {
  LaneCounts sum;
  for (const LaneReader& lane : lanes_) sum += lane.counts();
  return sum;
}

}  // namespace ebpf

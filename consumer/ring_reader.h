// SPDX-License-Identifier: Apache-2.0
// Reads the lanes of one ring, in turn. Works on memory that is already mapped, whoever
// mapped it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "consumer/lane_reader.h"

namespace ebpf {

// kFirst: at the very first record of the epoch; what is gone already counts as lost.
enum class Join { kTail, kOldest, kFirst };

class RingReader {
 public:
  // `lanes`: bit mask; bits beyond the ring's lanes are ignored. `page` outlives the reader.
  static Result<std::unique_ptr<RingReader>> create(const RingView& view, ebpf_control_page* page,
                                                    uint64_t lanes, Join join);
  // Goes on where another reader of the same epoch stood.
  static Result<std::unique_ptr<RingReader>> resume(const RingView& view, ebpf_control_page* page,
                                                    const std::vector<ResumePoint>& points);
  // The same with points from outside, which are checked; of `lanes`, one without a point
  // begins at its first record ever. EINVAL: a point that cannot be.
  static Result<std::unique_ptr<RingReader>> resume_checked(const RingView& view,
                                                            ebpf_control_page* page, uint64_t lanes,
                                                            const std::vector<ResumePoint>& points);
  RingReader(const RingReader&) = delete;
  RingReader& operator=(const RingReader&) = delete;

  // As LaneReader's, over all lanes. read() looks at every lane once, unless the sink stops it.
  uint32_t read(uint32_t budget, Sink& sink);
  bool dry() const;
  bool has_more() const;
  void orphan();
  void close_account(Sink& sink);
  void leave();

  bool ended() const { return view_.ended(); }
  const RingView& view() const { return view_; }
  std::vector<ResumePoint> resume_points() const;
  LaneCounts counts() const;  // sums; join_seq and next_seq mean nothing in it
  const std::vector<LaneReader>& lanes() const { return lanes_; }

 private:
  explicit RingReader(const RingView& view) : view_(view) {}

  RingView view_;
  std::vector<LaneReader> lanes_;
  size_t next_lane_ = 0;
};

}  // namespace ebpf

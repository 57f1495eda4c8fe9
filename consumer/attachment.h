// SPDX-License-Identifier: Apache-2.0
// One attachment to one producer: its memory, mapped and checked, and the reader on it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "consumer/producer_link.h"
#include "consumer/ring_reader.h"
#include "consumer/shared_mapping.h"

namespace ebpf {

class Attachment {
 public:
  // Maps what the answer brought and checks it. EBADMSG, EPROTO: not usable.
  static Result<std::unique_ptr<Attachment>> create(JoinAnswer answer);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  // One of these, once, before reader().
  Result<> start(uint64_t lanes, Join join);
  Result<> resume(const std::vector<ResumePoint>& points);
  Result<> resume_checked(uint64_t lanes, const std::vector<ResumePoint>& points);

  RingReader& reader() { return *reader_; }
  const RingReader& reader() const { return *reader_; }
  const RingView& view() const { return view_; }
  uint32_t consumer_id() const { return consumer_id_; }
  uint32_t* sleeping() { return &page()->sleeping; }

 private:
  Attachment() = default;
  ebpf_control_page* page() const { return static_cast<ebpf_control_page*>(control_.base()); }

  SharedMapping data_;
  SharedMapping control_;
  RingView view_;
  uint32_t consumer_id_ = 0;
  std::unique_ptr<RingReader> reader_;
};

}  // namespace ebpf

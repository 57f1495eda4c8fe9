// SPDX-License-Identifier: Apache-2.0
#include "consumer/attachment.h"

namespace ebpf {
namespace {

Result<> check_control_page(const ebpf_control_page& page, const RingView& view) {
  if (page.magic != EBPF_CONTROL_MAGIC || page.layout_version != EBPF_RING_LAYOUT_VERSION ||
      page.lane_count != view.lane_count() || page.epoch != view.epoch()) {
    return Error{EBADMSG, "the control page from the producer does not belong to its ring"};
  }
  return Unit{};
}

}  // namespace

Result<std::unique_ptr<Attachment>> Attachment::create(JoinAnswer answer) {
  std::unique_ptr<Attachment> attachment(new Attachment);
  Result<SharedMapping> data =
      SharedMapping::map_data(answer.data.get(), answer.message.data_bytes);
  if (!data) return data.error();
  Result<SharedMapping> control =
      SharedMapping::map_control(answer.control.get(), answer.message.control_bytes);
  if (!control) return control.error();
  Result<RingView> view = RingView::create(data->base(), data->size());
  if (!view) return view.error();
  if (view->epoch() != answer.message.epoch) {
    return Error{EBADMSG, "the ring is of epoch " + std::to_string(view->epoch()) +
                              ", the producer announced " + std::to_string(answer.message.epoch)};
  }
  attachment->data_ = std::move(*data);
  attachment->control_ = std::move(*control);
  attachment->view_ = *view;
  attachment->consumer_id_ = answer.message.consumer_id;
  if (auto ok = check_control_page(*attachment->page(), *view); !ok) return ok.error();
  return attachment;
}

Attachment::~Attachment() {
  if (reader_) reader_->leave();
}

Result<> Attachment::start(uint64_t lanes, Join join) {
  auto reader = RingReader::create(view_, page(), lanes, join);
  if (!reader) return reader.error();
  reader_ = std::move(*reader);
  return Unit{};
}

Result<> Attachment::resume(const std::vector<ResumePoint>& points) {
  auto reader = RingReader::resume(view_, page(), points);
  if (!reader) return reader.error();
  reader_ = std::move(*reader);
  return Unit{};
}

Result<> Attachment::resume_checked(uint64_t lanes, const std::vector<ResumePoint>& points) {
  auto reader = RingReader::resume_checked(view_, page(), lanes, points);
  if (!reader) return reader.error();
  reader_ = std::move(*reader);
  return Unit{};
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "consumer/consumer.h"

#include <poll.h>

#include <algorithm>
#include <utility>

namespace ebpf {
namespace {

constexpr uint32_t kPollBudget = 4096;          // records that one poll delivers at most
constexpr uint64_t kAnswerTimeoutUs = 1000000;  // for connection and answer together
constexpr uint64_t kRetryUs = 100000;           // between two looks for a producer
constexpr uint64_t kSliceUs = 100000;           // longest sleep that does not look at the link

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Consumer::Consumer(ConsumerConfig config, Watch watch)
    : config_(std::move(config)), sink_(config_.sink), watch_(std::move(watch)) {
  if (config_.filter) sink_.filter = &*config_.filter;
}

// ---- attaching --------------------------------------------------------------------------

Result<std::unique_ptr<Consumer>> Consumer::open(ConsumerConfig config) {
  Result<Watch> watch = Watch::create();
  if (!watch) return watch.error();
  std::unique_ptr<Consumer> consumer(new Consumer(std::move(config), std::move(*watch)));
  if (auto attached = consumer->attach_first(); !attached) return attached.error();
  return consumer;
}

Result<> Consumer::attach_first() {
  const Deadline deadline(static_cast<int>(kAnswerTimeoutUs / 1000));
  std::unique_ptr<Attachment> attachment;
  uint64_t pause_us = 5000;  // a busy producer is left alone a little longer each time
  while (!attachment) {
    Result<std::unique_ptr<Attachment>> attempt = try_attach();
    const bool no_room = !attempt && attempt.error().code == EAGAIN;
    if (!attempt && !no_room) return attempt.error();
    if (deadline.passed()) {
      // Too busy all the time: its own words say more than ours.
      if (no_room) return attempt.error();
      return Error{ETIMEDOUT, "no answer from " + config_.socket_path + " within a second"};
    }
    if (attempt) attachment = std::move(*attempt);
    pollfd wait{link_ ? link_->fd() : -1, POLLIN, 0};
    if (no_room) pause_us = std::min<uint64_t>(pause_us * 2, kRetryUs);
    const uint64_t slice_us = deadline.slice(no_room ? pause_us : kAnswerTimeoutUs);
    if (!attachment) ::poll(&wait, 1, static_cast<int>(slice_us / 1000) + 1);
  }
  const uint32_t lane_count = attachment->view().lane_count();
  if (!config_.spare_lanes && lane_count < 64 && config_.lanes >> lane_count != 0) {
    return Error{EINVAL, "the lanes asked for go beyond the producer's, which has " +
                             std::to_string(lane_count)};
  }
  return adopt(std::move(attachment));
}

// One step towards an attachment; nothing while the answer is still to come. After an
// error there is no link.
Result<std::unique_ptr<Attachment>> Consumer::try_attach() {
  if (!link_) {
    Result<ProducerLink> link = ProducerLink::connect(config_.socket_path, config_.name);
    if (!link) return link.error();
    link_ = std::move(*link);
    answer_due_us_ = monotonic_us() + kAnswerTimeoutUs;
    if (auto added = watch_.add(link_->fd()); !added) {
      link_.reset();
      return added.error();
    }
  }
  Result<std::optional<JoinAnswer>> answer = link_->receive_answer();
  if (answer && !answer->has_value()) {
    if (monotonic_us() < answer_due_us_) return std::unique_ptr<Attachment>();
    answer = Error{ETIMEDOUT, "no answer from " + config_.socket_path + " within a second"};
  }
  Result<std::unique_ptr<Attachment>> attachment =
      answer ? Attachment::create(std::move(**answer)) : answer.error();
  if (!attachment) link_.reset();
  return attachment;
}

Result<> Consumer::adopt(std::unique_ptr<Attachment> attachment) {
  if (auto placed = place(*attachment); !placed) {
    link_.reset();
    return placed.error();
  }
  if (last_epoch_ != 0) ++reattaches_;
  last_epoch_ = attachment->view().epoch();
  attachment_ = std::move(attachment);
  lane_count_ = static_cast<uint32_t>(attachment_->reader().lanes().size());
  phase_ = Phase::kReading;
  watch_.tick_every(0);
  return Unit{};
}

// Its first position in this attachment.
Result<> Consumer::place(Attachment& attachment) {
  const uint64_t lanes = config_.lanes != 0 ? config_.lanes : ~0ull;
  const uint64_t epoch = attachment.view().epoch();
  if (last_epoch_ == 0 && config_.resume_epoch == 0) return attachment.start(lanes, config_.join);
  if (last_epoch_ == 0 && epoch == config_.resume_epoch) {
    return attachment.resume_checked(lanes, config_.resume_points);
  }
  if (epoch == last_epoch_) return attachment.resume(last_points_);
  restart_due_ = last_epoch_ == 0;  // finish_epoch() has told it otherwise
  return attachment.start(lanes, Join::kFirst);
}

// ---- polling ----------------------------------------------------------------------------

int Consumer::poll(int timeout_ms) {
  struct Busy {
    explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
    ~Busy() { flag_ = false; }
    bool& flag_;
  } busy(busy_);
  sink_.stop = close_requested_;
  if (std::exchange(nudged_, false)) watch_.take_tick();
  if (std::exchange(restart_due_, false)) sink_.tell_gap(make_gap(EBPF_GAP_RESTART, 0, 0), 0);
  return run(Deadline(timeout_ms), timeout_ms != 0);
}

int Consumer::run(const Deadline& deadline, bool may_wait) {
  for (;;) {
    const uint64_t filtered = sink_.filtered;
    if (const int delivered = deliver(); delivered > 0 || sink_.stop) return delivered;
    // Time can run out over records that nobody wants. There is more to read, so that whoever
    // waits on our descriptor must come back at once.
    if (sink_.filtered != filtered && !attachment_->reader().dry() && deadline.passed()) {
      watch_.nudge();
      nudged_ = true;
      return 0;
    }
    if (may_wait && spin()) continue;
    if (advance() == Step::kGoOn) continue;
    if (sink_.stop) return 0;
    if (phase_ == Phase::kOver) return -EPIPE;
    if (!may_wait || deadline.passed()) {
      if (arm_doorbell()) return 0;
    } else if (wait(deadline) == Waited::kInterrupted) {
      return -EINTR;
    }
  }
}

int Consumer::deliver() {
  if (!attachment_) return 0;
  RingReader& reader = attachment_->reader();
  // First whether it has ended, then what is there: what came before the end is not missed.
  const bool no_more = phase_ == Phase::kDraining || reader.ended();
  const uint32_t delivered = reader.read(kPollBudget, sink_);
  drained_ = no_more && delivered == 0 && !sink_.stop && reader.dry();
  if (delivered > 0) {
    if (shm_load_relaxed_u32(attachment_->sleeping()) != EBPF_AWAKE) {
      shm_store_relaxed_u32(attachment_->sleeping(), EBPF_AWAKE);
    }
    // A consumer that is never idle must still notice that it has been cut off.
    const uint64_t now = monotonic_coarse_us();
    if (phase_ == Phase::kReading && now >= next_link_check_us_) {
      next_link_check_us_ = now + kSliceUs;
      if (!link_->drain()) lose_link();
    }
  }
  return static_cast<int>(delivered);
}

// True: there is something to read.
bool Consumer::spin() {
  if (config_.spin_us == 0 || phase_ != Phase::kReading) return false;
  const uint64_t until = monotonic_us() + config_.spin_us;
  do {
    for (int i = 0; i < 64; ++i) {
      if (attachment_->reader().has_more()) return true;
      relax();
    }
  } while (monotonic_us() < until);
  return false;
}

Consumer::Step Consumer::advance() {
  switch (phase_) {
    case Phase::kReading:
      return advance_reading();
    case Phase::kDraining:
      if (drained_) leave_epoch();
      return Step::kGoOn;
    case Phase::kAway:
      return advance_away();
    case Phase::kOver:
      break;
  }
  return Step::kWait;
}

Consumer::Step Consumer::advance_reading() {
  if (!link_->drain()) {
    lose_link();
    return Step::kGoOn;
  }
  if (!drained_) return Step::kWait;
  lose_link();
  leave_epoch();
  return Step::kGoOn;
}

Consumer::Step Consumer::advance_away() {
  watch_.take_tick();
  if (!link_ && monotonic_us() < next_try_us_) return Step::kWait;
  Result<std::unique_ptr<Attachment>> attempt = try_attach();
  if (!attempt) {
    const int code = attempt.error().code;
    return attach_failed(code == EAGAIN || code == EUSERS);
  }
  if (*attempt == nullptr) return Step::kWait;
  const bool same = (*attempt)->view().epoch() == last_epoch_;
  if (same && (*attempt)->view().ended()) return attach_failed();  // on its way out
  if (attachment_) {
    // The same producer: it has only cut us off, and we go on where we were.
    if (same) {
      fold_attachment();
    } else {
      finish_epoch();
    }
  }
  if (!adopt(std::move(*attempt))) return attach_failed();
  return Step::kGoOn;
}

// `busy`: a producer is there, but has no time or no slot for us yet. Whether it is the one
// that we know is open, so the epoch is not over.
Consumer::Step Consumer::attach_failed(bool busy) {
  link_.reset();
  next_try_us_ = monotonic_us() + kRetryUs;
  if (attachment_ && !busy) finish_epoch();
  return Step::kWait;
}

// ---- the end of a producer --------------------------------------------------------------

// The connection is over. Without an orderly end the producer may still be alive and write,
// and no longer honours our pins.
void Consumer::lose_link() {
  const bool orderly = attachment_->reader().ended();
  last_reason_ = link_->reason();
  last_end_ = orderly                  ? EBPF_END_ORDERLY
              : last_reason_.code != 0 ? EBPF_END_DETACHED
                                       : EBPF_END_HUNG_UP;
  evicted_ = last_end_ == EBPF_END_DETACHED && last_reason_.code == ECANCELED;
  link_.reset();
  if (!attachment_->reader().ended()) attachment_->reader().orphan();
  phase_ = Phase::kDraining;
  drained_ = false;
  next_try_us_ = 0;
  watch_.tick_every(kRetryUs);
}

// Everything that there was is delivered. Whether the epoch is over is certain after an
// orderly end; otherwise the answer to one more JOIN tells.
void Consumer::leave_epoch() {
  const bool certain = attachment_->reader().ended() || !may_return();
  phase_ = may_return() ? Phase::kAway : Phase::kOver;
  if (certain) finish_epoch();
  if (phase_ == Phase::kOver) watch_.tick_every(0);
}

void Consumer::finish_epoch() {
  attachment_->reader().close_account(sink_);
  fold_attachment();
  if (may_return()) sink_.tell_gap(make_gap(EBPF_GAP_RESTART, 0, 0), 0);
}

// What was read moves to the sums, what was not is somebody else's to count from here on.
void Consumer::fold_attachment() {
  last_points_ = attachment_->reader().resume_points();
  past_ += attachment_->reader().counts();
  past_.unread = 0;
  attachment_.reset();
}

// ---- waiting ----------------------------------------------------------------------------

Waited Consumer::wait(const Deadline& deadline) {
  const uint64_t slice_us = deadline.slice(kSliceUs);
  if (phase_ != Phase::kReading) return watch_.wait(slice_us);
  uint32_t* sleeping = attachment_->sleeping();
  const RingReader& reader = attachment_->reader();
  if (!announce_sleep(ShmWord32(sleeping), EBPF_SLEEPS_ON_FUTEX,
                      [&] { return reader.has_more(); })) {
    return Waited::kGoOn;
  }
  ++sleeps_;
  // The pin on the open segment stays: it costs the producer nothing that the pool does not
  // already hold for us, and the first record after the wake-up is read without a new one.
  const Waited waited = futex_wait(sleeping, EBPF_SLEEPS_ON_FUTEX, slice_us);
  shm_store_relaxed_u32(sleeping, EBPF_AWAKE);
  return waited;
}

// Before a poll returns empty-handed: from here on the producer rings. False: there is
// something to read after all.
bool Consumer::arm_doorbell() {
  if (phase_ != Phase::kReading) return true;
  uint32_t* sleeping = attachment_->sleeping();
  // Still announced by an earlier poll, and nobody has answered since.
  if (shm_load_relaxed_u32(sleeping) == EBPF_SLEEPS_ON_DOORBELL) return true;
  const RingReader& reader = attachment_->reader();
  if (!announce_sleep(ShmWord32(sleeping), EBPF_SLEEPS_ON_DOORBELL,
                      [&] { return reader.has_more(); })) {
    return false;
  }
  ++sleeps_;
  return true;
}

// ---- the rest ---------------------------------------------------------------------------

void Consumer::request_close() {
  close_requested_ = true;
  sink_.stop = true;
}

void Consumer::fill_stats(struct ebpf_consumer_stats& stats) const {
  LaneCounts sum = past_;
  if (attachment_) sum += attachment_->reader().counts();
  stats.epoch = attachment_ ? attachment_->view().epoch() : 0;
  stats.delivered = sum.delivered;
  stats.filtered = sum.filtered;
  stats.lost = sum.lost;
  stats.unread = sum.unread;
  stats.published = sum.delivered + sum.filtered + sum.lost + sum.unread;
  stats.upstream_lost = sink_.upstream_lost;
  stats.gaps = sink_.gaps;
  stats.sleeps = sleeps_;
  stats.reattaches = reattaches_;
  stats.lane_count = lane_count_;
  stats.consumer_id = phase_ == Phase::kReading ? attachment_->consumer_id() : 0;
  stats.last_end = last_end_;
  stats.last_end_errno =
      last_end_ == EBPF_END_DETACHED ? static_cast<uint32_t>(last_reason_.code) : 0;
}

std::vector<ebpf_position> Consumer::positions() const {
  std::vector<ebpf_position> positions;
  for (const ResumePoint& point :
       attachment_ ? attachment_->reader().resume_points() : last_points_) {
    positions.push_back(
        {last_epoch_, point.next_seq, point.at.segment, point.at.offset, point.lane});
  }
  return positions;
}

std::string Consumer::end_text() const {
  if (last_end_ == EBPF_END_ORDERLY) return "the producer is gone: it ended in good order";
  if (last_end_ == EBPF_END_DETACHED) {
    return "the producer detached this consumer: " + last_reason_.message;
  }
  return "the producer is gone: the connection to it was lost";
}

}  // namespace ebpf

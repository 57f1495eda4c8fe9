// SPDX-License-Identifier: Apache-2.0
#include "producer/drain.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

namespace ebpf {
namespace {

constexpr uint64_t kLossCheckNs = 500'000'000;
// Give buffer space back to the kernel at least this often within a pass.
constexpr uint32_t kReleaseEvery = 64;

// Where the fields stand in a sample, which starts at kernel_event.lost.
constexpr uint32_t kDataAt = offsetof(kernel_event, data) - KERNEL_EVENT_NOT_SENT;
constexpr uint32_t kHeaderBytes = sizeof(kernel_event) - KERNEL_EVENT_NOT_SENT;

template <class T>
T field(const EventView& event, uint32_t at) {
  T value;
  event.copy(&value, at, sizeof value);
  return value;
}

uint64_t timestamp_ns(const EventView& event) {
  return field<uint64_t>(event, kDataAt + offsetof(SK_BPF_DATA, timestamp));
}

uint32_t cap_len(const EventView& event) {
  return field<uint32_t>(event, kDataAt + offsetof(SK_BPF_DATA, cap_len));
}

void count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

Drain::Drain(KernelTracer& tracer, Publisher& publisher, ConsumerSlots& slots,
             const DrainTiming& timing)
    : tracer_(tracer),
      publisher_(publisher),
      slots_(slots),
      timing_(timing),
      pace_(timing),
      interrupt_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      cpu_lost_(tracer.cpus().size()),
      lane_lost_(publisher.lane_count()) {
  heads_.reserve(tracer.cpus().size());
}

void Drain::run(const std::atomic<bool>& stop) {
  if (timing_.timer_slack_ns != 0) prctl(PR_SET_TIMERSLACK, timing_.timer_slack_ns);
  uint64_t wait_ns = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    wait(wait_ns);
    const uint64_t now_ns = monotonic_ns();
    clock_.refresh(now_ns);
    PassResult found;
    found.taken = pass(now_ns - timing_.settle_ns);
    found.left = anything_left(&found.crowded);
    if (now_ns - losses_checked_ns_ >= kLossCheckNs) {
      losses_checked_ns_ = now_ns;
      report_kernel_losses();
    }
    const bool wake_pending = publisher_.flush(now_ns / 1000);
    slots_.quiet_point();
    wait_ns = plan(found, now_ns);
    if (wake_pending) wait_ns = std::min(wait_ns, timing_.wake_retry_ns);
  }
  if (asleep_) tracer_.set_asleep(false);
  asleep_ = false;
  pass(UINT64_MAX);
  report_kernel_losses();
  publisher_.flush(monotonic_ns() / 1000);
  slots_.quiet_point();
}

void Drain::interrupt() {
  const uint64_t one = 1;
  (void)!write(interrupt_.get(), &one, sizeof one);
}

// Until an event wakes us, or the time is over.
void Drain::wait(uint64_t wait_ns) {
  pollfd ready[2] = {{tracer_.epoll_fd(), POLLIN, 0}, {interrupt_.get(), POLLIN, 0}};
  const timespec time = {static_cast<time_t>(wait_ns / 1'000'000'000),
                         static_cast<long>(wait_ns % 1'000'000'000)};
  if (ppoll(ready, 2, &time, nullptr) <= 0) return;
  epoll_event rang[8];  // who it was does not matter; a perf buffer has told it poll already
  if (ready[0].revents != 0) epoll_wait(tracer_.epoll_fd(), rang, 8, 0);
  uint64_t times;
  if (ready[1].revents != 0) (void)!read(interrupt_.get(), &times, sizeof times);
}

// How long to wait for events, after a pass; tells the programs when we fall asleep.
uint64_t Drain::plan(const PassResult& found, uint64_t now_ns) {
  if (tracer_.can_sleep() && pace_.wants_sleep(found, now_ns)) {
    if (asleep_) return pace_.sleep_ns();
    tracer_.set_asleep(true);
    bool crowded;
    asleep_ = !anything_left(&crowded);
    if (asleep_) return pace_.sleep_ns();
    tracer_.set_asleep(false);
  } else if (asleep_) {
    tracer_.set_asleep(false);
    asleep_ = false;
  }
  return pace_.wait_ns(found);
}

// Whether any buffer holds more than was taken; `crowded`: so much that another tick may be too
// long.
bool Drain::anything_left(bool* crowded) const {
  bool any = false;
  *crowded = false;
  for (const CpuBuffer& cpu : tracer_.cpus()) {
    const uint64_t unread = cpu.unread_bytes();
    any = any || unread > 0;
    *crowded = *crowded || unread >= cpu.data_bytes() / 4;
  }
  return any;
}

// Looks at the next event of a CPU; false: none within the snapshot and the horizon.
bool Drain::look(uint32_t cpu, uint64_t horizon_ns, Head* head) {
  CpuBuffer& buffer = tracer_.cpus()[cpu];
  while (buffer.peek(&head->event)) {
    const EventView& event = head->event;
    // A raw sample is padded to 8 bytes, so it may be a little longer than the event.
    if (event.size() >= kHeaderBytes && cap_len(event) <= event.size() - kHeaderBytes) {
      head->timestamp_ns = timestamp_ns(event);
      head->cpu = cpu;
      return head->timestamp_ns <= horizon_ns;
    }
    count(bad_events_);
    buffer.pop();
  }
  return false;
}

// Every event that is older than the horizon, in time order over all CPUs. The horizon is
// read before the heads are: an event that happened because of another one (same thread,
// same socket) cannot be seen without it.
uint32_t Drain::pass(uint64_t horizon_ns) {
  auto& cpus = tracer_.cpus();
  heads_.clear();
  for (uint32_t cpu = 0; cpu < cpus.size(); ++cpu) {
    cpus[cpu].snapshot();
    Head head;
    if (look(cpu, horizon_ns, &head)) heads_.push_back(head);
  }
  std::make_heap(heads_.begin(), heads_.end(), std::greater<>());

  uint32_t taken = 0;
  while (!heads_.empty()) {
    std::pop_heap(heads_.begin(), heads_.end(), std::greater<>());
    const bool goes_on = take_run(&heads_.back(), horizon_ns, &taken);
    if (goes_on) {
      std::push_heap(heads_.begin(), heads_.end(), std::greater<>());
    } else {
      heads_.pop_back();
    }
  }
  for (CpuBuffer& each : cpus) each.release();
  return taken;
}

// Takes the events of one CPU, whose head is the last of heads_, until another CPU has an older
// one. False: it has no more.
bool Drain::take_run(Head* head, uint64_t horizon_ns, uint32_t* taken) {
  auto& cpus = tracer_.cpus();
  const uint64_t until_ns = heads_.size() > 1 ? heads_.front().timestamp_ns : UINT64_MAX;
  do {
    take(*head);
    cpus[head->cpu].pop();
    if (++*taken % kReleaseEvery == 0) {
      for (CpuBuffer& each : cpus) each.release();
    }
    if (!look(head->cpu, horizon_ns, head)) return false;
  } while (head->timestamp_ns <= until_ns);
  return true;
}

void Drain::take(const Head& head) {
  const EventView& event = head.event;
  note_loss(head.cpu, event);
  if (head.timestamp_ns < last_event_ns_) count(late_events_);
  last_event_ns_ = std::max(last_event_ns_, head.timestamp_ns);

  auto data = field<SK_BPF_DATA>(event, kDataAt);
  data.timestamp = clock_.to_wall_us(head.timestamp_ns);
  const uint32_t payload_at = kDataAt + sizeof(SK_BPF_DATA);
  if (const uint8_t* payload = event.in_place(payload_at, data.cap_len); payload != nullptr) {
    publisher_.add(data, payload);
    return;
  }
  publisher_.add(data.socket_id, data.cap_len, [&](ebpf_record* record) {
    record->data = data;
    event.copy(record + 1, payload_at, data.cap_len);
    return true;
  });
}

// The event says how many outputs had failed before it on its CPU: tell a hole here, where
// it is, rather than at the next check.
void Drain::note_loss(uint32_t cpu, const EventView& event) {
  const auto lost = field<uint32_t>(event, 0);
  if (lost == cpu_lost_[cpu]) return;
  cpu_lost_[cpu] = lost;
  report_kernel_losses();
}

void Drain::report_kernel_losses() {
  const std::vector<uint64_t> lost = tracer_.lost_by_lane();
  const uint64_t now_us = wall_us();
  for (uint32_t lane = 0; lane < lane_lost_.size() && lane < lost.size(); ++lane) {
    if (lost[lane] <= lane_lost_[lane]) continue;
    publisher_.add_gap(lane, EBPF_GAP_PERF_FULL, lost[lane] - lane_lost_[lane], now_us);
    lane_lost_[lane] = lost[lane];
  }
}

}  // namespace ebpf

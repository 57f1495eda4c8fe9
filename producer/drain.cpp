// SPDX-License-Identifier: Apache-2.0
#include "producer/drain.h"

#include <sys/epoll.h>

#include <algorithm>
#include <functional>

namespace ebpf {
namespace {

// The kernel wakes the drain when a buffer is a quarter full; the tick covers the rest.
constexpr int kTickMs = 4;
// Events younger than this stay for the next pass: another CPU may still be writing an
// older one. A program runs for a few microseconds between its clock and its output.
constexpr uint64_t kSettleNs = 100'000;
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

Drain::Drain(KernelTracer& tracer, Publisher& publisher, ConsumerSlots& slots)
    : tracer_(tracer),
      publisher_(publisher),
      slots_(slots),
      cpu_lost_(tracer.cpus().size()),
      lane_lost_(publisher.lane_count()) {
  heads_.reserve(tracer.cpus().size());
}

void Drain::run(const std::atomic<bool>& stop) {
  bool wake_pending = false;
  while (!stop.load(std::memory_order_relaxed)) {
    epoll_event ready[8];
    epoll_wait(tracer_.epoll_fd(), ready, 8, wake_pending ? 1 : kTickMs);
    const uint64_t now_ns = monotonic_ns();
    clock_.refresh(now_ns);
    pass(now_ns - kSettleNs);
    if (now_ns - losses_checked_ns_ >= kLossCheckNs) {
      losses_checked_ns_ = now_ns;
      report_kernel_losses();
    }
    wake_pending = publisher_.flush(now_ns / 1000);
    slots_.quiet_point();
  }
  pass(UINT64_MAX);
  report_kernel_losses();
  publisher_.flush(monotonic_ns() / 1000);
  slots_.quiet_point();
}

// Looks at the next event of a CPU; false: none within the snapshot and the horizon.
bool Drain::look(uint32_t cpu, uint64_t horizon_ns, Head* head) {
  EventView event;
  while (tracer_.cpus()[cpu].peek(&event)) {
    // A raw sample is padded to 8 bytes, so it may be a little longer than the event.
    if (event.size() >= kHeaderBytes && cap_len(event) <= event.size() - kHeaderBytes) {
      *head = {timestamp_ns(event), cpu};
      return head->timestamp_ns <= horizon_ns;
    }
    count(bad_events_);
    tracer_.cpus()[cpu].pop();
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
    const uint32_t cpu = heads_.back().cpu;
    EventView event;
    cpus[cpu].peek(&event);
    take(cpu, event);
    cpus[cpu].pop();
    if (++taken % kReleaseEvery == 0) {
      for (CpuBuffer& each : cpus) each.release();
    }
    if (look(cpu, horizon_ns, &heads_.back())) {
      std::push_heap(heads_.begin(), heads_.end(), std::greater<>());
    } else {
      heads_.pop_back();
    }
  }
  for (CpuBuffer& each : cpus) each.release();
  return taken;
}

void Drain::take(uint32_t cpu, const EventView& event) {
  note_loss(cpu, event);
  const uint64_t at_ns = timestamp_ns(event);
  if (at_ns < last_event_ns_) count(late_events_);
  last_event_ns_ = std::max(last_event_ns_, at_ns);

  auto data = field<SK_BPF_DATA>(event, kDataAt);
  data.timestamp = clock_.to_wall_us(at_ns);
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

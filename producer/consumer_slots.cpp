// SPDX-License-Identifier: Apache-2.0
#include "producer/consumer_slots.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>
#include <string>

#include "libebpf/control.h"
#include "producer/ring_memory.h"

namespace ebpf {
namespace {

// So many slots may wait for the drain thread to pass.
constexpr size_t kDetachedMax = 128;

uint64_t epoch_from_clock() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

void fill_page(ebpf_control_page* page, uint32_t lane_count, uint64_t epoch) {
  page->magic = EBPF_CONTROL_MAGIC;
  page->layout_version = EBPF_RING_LAYOUT_VERSION;
  page->lane_count = lane_count;
  page->epoch = epoch;
  for (ebpf_control_lane& lane : page->lanes) lane.join_seq = lane.next_seq = kNotJoined;
}

// More than that was not the wake-up: somebody else had the CPU.
constexpr uint64_t kWakeCostMaxNs = 8000;

uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// One waiter: a consumer has one thread that sleeps. More would make our cost its choice.
void wake_futex(uint32_t* word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }

// Whether the doorbell has rung or never will. A full queue counts as rung: the socket is
// readable then, and that is all that a doorbell says.
bool ring_doorbell(int socket) {
  ebpf_msg_header doorbell{};
  doorbell.magic = EBPF_MSG_MAGIC;
  doorbell.version = EBPF_PROTOCOL_VERSION;
  doorbell.type = EBPF_MSG_DOORBELL;
  doorbell.length_bytes = sizeof(doorbell);
  if (send(socket, &doorbell, sizeof(doorbell), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
  return errno != ENOMEM && errno != ENOBUFS && errno != EINTR;
}

}  // namespace

struct ConsumerSlots::Attachment {
  RingMemory memory;
  ebpf_control_page* page = nullptr;
  UniqueFd doorbell;
  ConsumerInfo info;
  std::atomic<uint64_t> wakeups{0};
  // Drain thread.
  uint64_t next_wake_us = 0;
  uint64_t paid_until_us = 0;  // its share of the drain thread's time is used up to here
  bool rang_in_vain = false;
};

ConsumerSlots::ConsumerSlots(uint32_t max_consumers, uint32_t lane_count, uint64_t epoch,
                             const WakeLimits& limits)
    : limits_(limits),
      max_consumers_(std::clamp(max_consumers, 1u, EBPF_CONSUMERS_MAX)),
      lane_count_(std::clamp(lane_count, 1u, EBPF_LANES_MAX)),
      epoch_(epoch != 0 ? epoch : epoch_from_clock()),
      slots_(new Slot[max_consumers_]) {
  // So detach() never allocates: attach() refuses beyond kDetachedMax.
  detached_.reserve(kDetachedMax + max_consumers_);
}

ConsumerSlots::~ConsumerSlots() {
  for (uint32_t slot = 0; slot < max_consumers_; ++slot) {
    if (!slots_[slot].owned) continue;
    uint32_t* sleeping = &slots_[slot].owned->page->sleeping;
    shm_exchange_seq_cst_u32(sleeping, EBPF_AWAKE);
    wake_futex(sleeping);
  }
}

// ---- control thread ---------------------------------------------------------------

ConsumerSlots::Slot* ConsumerSlots::find_free() {
  for (uint32_t slot = 0; slot < max_consumers_; ++slot) {
    if (!slots_[slot].owned) return &slots_[slot];
  }
  return nullptr;
}

Result<ConsumerSlots::Attached> ConsumerSlots::attach(int socket, const ConsumerInfo& info) {
  collect();
  Slot* slot = find_free();
  if (slot == nullptr) {
    return Error{EUSERS, "all " + std::to_string(max_consumers_) + " consumer slots are taken"};
  }
  // Joining and leaving faster than the drain thread passes must not pile up memory.
  if (detached_.size() >= kDetachedMax) {
    return Error{EAGAIN, "consumers come and go faster than their slots can be freed; try again"};
  }
  std::unique_ptr<Attachment> fresh(new (std::nothrow) Attachment);
  if (!fresh) return errno_error("cannot attach a consumer", ENOMEM);
  auto memory = RingMemory::create("libebpf-control", EBPF_CONTROL_BYTES, 0600);
  if (!memory) return memory.error();
  fresh->memory = std::move(*memory);
  fresh->page = reinterpret_cast<ebpf_control_page*>(fresh->memory.base());
  fill_page(fresh->page, lane_count_, epoch_);
  if (auto sealed = fresh->memory.seal(false); !sealed) return sealed.error();
  fresh->doorbell = UniqueFd(fcntl(socket, F_DUPFD_CLOEXEC, 0));
  if (!fresh->doorbell) return errno_error("cannot keep the consumer's socket");

  if (++last_id_ == 0) last_id_ = 1;
  fresh->info = info;
  fresh->info.id = last_id_;
  fresh->info.attached_us = monotonic_ns() / 1000;
  Attached attached{last_id_, fresh->memory.take_fd()};
  Words words(*this);
  enter_slot(words, static_cast<uint32_t>(slot - slots_.get()), fresh.get());
  slot->owned = std::move(fresh);
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return attached;
}

uint64_t ConsumerSlots::detach(uint32_t id, const uint64_t* published_seq, uint64_t initial_seq) {
  for (uint32_t index = 0; index < max_consumers_; ++index) {
    Slot& slot = slots_[index];
    if (!slot.owned || slot.owned->info.id != id) continue;
    const uint64_t left = unread(*slot.owned, published_seq, initial_seq);
    for (uint32_t lane = 0; lane < lane_count_; ++lane) {
      note_position(*slot.owned, lane, initial_seq, published_seq[lane] - initial_seq);
    }
    Words words(*this);
    const uint64_t quiet_points = leave_slot(words, index);
    detached_.push_back({std::move(slot.owned), quiet_points});
    count_.store(count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    return left;
  }
  return 0;
}

void ConsumerSlots::collect() {
  Words words(*this);
  const uint64_t passed = quiet_points_passed(words);
  auto free_now = [passed](const Detached& each) { return passed != each.quiet_points; };
  detached_.erase(std::remove_if(detached_.begin(), detached_.end(), free_now), detached_.end());
}

uint64_t ConsumerSlots::unread(const Attachment& attachment, const uint64_t* published_seq,
                               uint64_t initial_seq) const {
  uint64_t sum = 0;
  for (uint32_t lane = 0; lane < lane_count_; ++lane) {
    const uint64_t next = shm_load_relaxed_u64(&attachment.page->lanes[lane].next_seq);
    const uint64_t behind = published_seq[lane] - next;
    // Also false where it claims to be ahead: the difference wraps.
    if (next != kNotJoined && behind <= published_seq[lane] - initial_seq) sum += behind;
  }
  return sum;
}

void ConsumerSlots::note_position(const Attachment& attachment, uint32_t lane, uint64_t initial_seq,
                                  uint64_t published) {
  const uint64_t next = shm_load_relaxed_u64(&attachment.page->lanes[lane].next_seq);
  if (next == kNotJoined) return;
  const uint64_t position = next - initial_seq;
  // Half of the number space ahead is behind.
  if (position > UINT64_MAX / 2) return;
  furthest_[lane] = std::max(furthest_[lane], std::min(position, published));
}

std::vector<ConsumerInfo> ConsumerSlots::list() const {
  std::vector<ConsumerInfo> infos;
  for (uint32_t slot = 0; slot < max_consumers_; ++slot) {
    if (!slots_[slot].owned) continue;
    infos.push_back(slots_[slot].owned->info);
    infos.back().wakeups = slots_[slot].owned->wakeups.load(std::memory_order_relaxed);
  }
  return infos;
}

ebpf_control_page* ConsumerSlots::mapped_page(uint32_t id) {
  for (uint32_t slot = 0; slot < max_consumers_; ++slot) {
    if (slots_[slot].owned && slots_[slot].owned->info.id == id) return slots_[slot].owned->page;
  }
  return nullptr;
}

uint64_t ConsumerSlots::furthest(uint32_t lane, uint64_t initial_seq, uint64_t published) {
  if (lane >= lane_count_) return 0;
  for (uint32_t slot = 0; slot < max_consumers_; ++slot) {
    if (slots_[slot].owned) note_position(*slots_[slot].owned, lane, initial_seq, published);
  }
  return furthest_[lane];
}

// ---- drain thread -----------------------------------------------------------------

ControlWord ConsumerSlots::Words::pin(Page page, uint32_t lane) {
  return ControlWord(&page->page->lanes[lane].pin);
}
ControlWord ConsumerSlots::Words::sleeping(Page page) { return ControlWord(&page->page->sleeping); }

bool ConsumerSlots::wake_sleepers(uint64_t now_us) {
  Words words(*this);
  uint32_t pending = 0;
  scan_sleepers(words, [&](Attachment* attachment) {
    if (!wake(*attachment, now_us)) ++pending;
  });
  pending_ = pending + 1;
  return pending > 0;
}

// Returns false where a wake-up may be due but must wait. Until then the consumer's word is
// not even loaded: a hostile one writes to it all the time, which makes every load a miss.
bool ConsumerSlots::wake(Attachment& attachment, uint64_t now_us) {
  if (now_us < attachment.next_wake_us) return false;
  Words words(*this);
  if (!attachment.rang_in_vain && !says_it_sleeps(words, &attachment)) return true;

  const uint64_t began_ns = monotonic_ns();
  const uint32_t how = take_announcement(words, &attachment);
  if (how == EBPF_SLEEPS_ON_FUTEX) wake_futex(&attachment.page->sleeping);
  if (how == EBPF_SLEEPS_ON_DOORBELL || attachment.rang_in_vain) {
    attachment.rang_in_vain = !ring_doorbell(attachment.doorbell.get());
  }
  const uint64_t cost_ns = std::min(monotonic_ns() - began_ns, kWakeCostMaxNs);
  const uint64_t credit_from_us = now_us > kWakeCreditUs ? now_us - kWakeCreditUs : 0;
  attachment.paid_until_us = std::max(attachment.paid_until_us, credit_from_us) +
                             cost_ns * limits_.share * pending_ / 1000;
  attachment.next_wake_us = std::max(now_us + limits_.interval_us, attachment.paid_until_us);
  attachment.wakeups.store(attachment.wakeups.load(std::memory_order_relaxed) + 1,
                           std::memory_order_relaxed);
  wakeups_.store(wakeups_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return !attachment.rang_in_vain;
}

void ConsumerSlots::quiet_point() {
  Words words(*this);
  pass_quiet_point(words);
}

}  // namespace ebpf

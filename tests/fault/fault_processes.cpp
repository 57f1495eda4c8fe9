// SPDX-License-Identifier: Apache-2.0
#include <sys/un.h>

#include "tests/fault/fault_support.h"

namespace ebpf::fault {
namespace {

constexpr uint64_t kBurst = 16;

// The slowest of those that are waited for.
uint64_t followed_to(const Board& board, uint64_t published) {
  uint64_t least = published;
  for (const Report& report : board.reports) {
    if (report.follow == 0) continue;
    least = std::min<uint64_t>(least, report.next_seq - board.initial_seq);
  }
  return least;
}

void write_until_told(Board& board, TestRing& ring) {
  uint64_t published = 0;
  while (board.quit == 0) {
    const uint64_t wanted = board.target;
    const bool follow = board.free_run == 0;
    if (published >= wanted ||
        (follow && published - followed_to(board, published) + kBurst > board.follow_by)) {
      ring.slots.wake_sleepers(now_us());
      ring.slots.quiet_point();
      usleep(50);
      continue;
    }
    const uint64_t count = std::min(kBurst, wanted - published);
    ring.write(0, count, kBurst);
    published += count;
    ring.slots.wake_sleepers(now_us());
    ring.slots.quiet_point();
    board.cpu_ns = thread_cpu_ns();
    board.published = published;
  }
}

}  // namespace

int run_producer(Board& board, const std::string& path, const RingOptions& options) {
  TestRing ring(options);
  if (!ring.writer) return 1;
  ControlHandlers handlers;
  handlers.fill_stats = [](ebpf_msg_stats*) {};
  handlers.fill_offsets = [](ebpf_msg_offsets*) {};
  handlers.start = handlers.stop = [] { return Result<>(Unit{}); };
  auto server = ControlServer::create(path, handlers, ring.slots, *ring.writer,
                                      [](LogLevel, const std::string&) {});
  if (!server) {
    fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  const ebpf_ring_header& header = ring.writer->header();
  board.window = uint64_t{header.window_segments} * header.block_bytes / sizeof(ebpf_record);
  board.follow_by = ring.writer->lane_capacity() / 2;
  board.epoch = header.epoch;
  board.initial_seq = options.initial_seq;
  board.ready = 1;
  std::thread control([&] {
    while (board.quit == 0) {
      (*server)->run_once(2);
      board.attached = ring.slots.count();
      board.undelivered = (*server)->undelivered();
    }
  });
  write_until_told(board, ring);
  control.join();
  ring.writer->end();
  return 0;
}

namespace {

class CheckingConsumer {
 public:
  CheckingConsumer(Report& report, std::string path, uint32_t from, bool reattach)
      : report_(report), path_(std::move(path)) {
    options_.socket_path = path_.c_str();
    options_.from = from;
    options_.flags = reattach ? 0 : EBPF_NO_REATTACH;
    options_.user = this;
    options_.on_record = [](const ebpf_record* record, uint32_t lane, void* user) {
      return static_cast<CheckingConsumer*>(user)->record(*record, lane);
    };
    options_.on_gap = [](const ebpf_gap* gap, uint32_t, void* user) {
      static_cast<CheckingConsumer*>(user)->gap(*gap);
    };
  }

  int run() {
    int error = ebpf_consumer_open(&handle_, &options_);
    if (error == 0) report_.opened = 1;
    while (error >= 0) {
      error = ebpf_consumer_poll(handle_, 10);
      check_account();
      if (report_.finish == 1 && report_.unread == 0) break;
    }
    if (error < 0) report_.error = static_cast<uint64_t>(-error);
    ebpf_consumer_close(handle_);
    report_.done = 1;
    return error < 0 ? 1 : 0;
  }

 private:
  int record(const ebpf_record& record, uint32_t lane) {
    if (!record_is_intact(record, lane)) ++report_.torn;
    if (knows_next_ && record.seq != next_) ++report_.disordered;
    knows_next_ = true;
    next_ = record.seq + 1;
    const uint64_t every = report_.slow_every;
    if (every != 0 && report_.delivered % every == 0) be_slow(record, lane);
    ++report_.delivered;
    ++report_.epoch_delivered;
    report_.next_seq = next_;
    if (report_.delivered % 64 == 0) check_account();
    return 0;
  }

  // The record must be the same at the end, however often the ring went round meanwhile.
  void be_slow(const ebpf_record& record, uint32_t lane) {
    report_.inside = 1;
    usleep(static_cast<useconds_t>(report_.slow_us.load()));
    if (!record_is_intact(record, lane) || record.seq + 1 != next_) ++report_.torn;
    report_.inside = 0;
  }

  void gap(const ebpf_gap& gap) {
    ++report_.gaps;
    if (gap.cause == EBPF_GAP_RESTART) {
      knows_next_ = false;
      report_.next_seq = 0;
      report_.epoch_delivered = 0;
      ++report_.restarts;
      return;
    }
    if (knows_next_ && gap.seq != next_ + gap.count) ++report_.disordered;
    knows_next_ = true;
    next_ = gap.seq;
    report_.lost += gap.count;
    report_.next_seq = next_;
  }

  void check_account() {
    struct ebpf_consumer_stats stats {};
    stats.size = sizeof stats;
    if (ebpf_consumer_stats(handle_, &stats) != 0) return;
    const bool balanced =
        stats.published == stats.delivered + stats.filtered + stats.lost + stats.unread;
    const bool agreed = stats.delivered == report_.delivered && stats.lost == report_.lost &&
                        stats.gaps == report_.gaps && stats.reattaches <= report_.restarts;
    if (!balanced || !agreed) ++report_.unbalanced;
    report_.epoch = stats.consumer_id != 0 ? stats.epoch : 0;
    report_.published = stats.published;
    report_.unread = stats.unread;
  }

  Report& report_;
  std::string path_;
  ebpf_consumer_options options_ = EBPF_CONSUMER_OPTIONS_INIT;
  ebpf_consumer* handle_ = nullptr;
  bool knows_next_ = false;
  uint64_t next_ = 0;
};

}  // namespace

int run_consumer(Report& report, const std::string& path, uint32_t from, bool reattach) {
  return CheckingConsumer(report, path, from, reattach).run();
}

UniqueFd connect_to(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    socket.reset();
  }
  return socket;
}

bool join_raw(const std::string& path, RawJoin& out, uint32_t layout_version,
              ebpf_msg_error* refusal) {
  out.socket = connect_to(path);
  ebpf_msg_join request{};
  request.header = {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, EBPF_MSG_JOIN, sizeof request, 0};
  request.layout_version = layout_version;
  if (send(out.socket.get(), &request, sizeof request, MSG_NOSIGNAL) < 0) return false;
  union {
    ebpf_msg_joined joined;
    ebpf_msg_error error;
  } answer{};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  iovec part{&answer, sizeof answer};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(out.socket.get(), &header, MSG_CMSG_CLOEXEC);
  if (refusal != nullptr && got == sizeof answer.error) *refusal = answer.error;
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (got != sizeof answer.joined || rights == nullptr) return false;
  int fds[2];
  std::memcpy(fds, CMSG_DATA(rights), sizeof fds);
  out.joined = answer.joined;
  out.data = UniqueFd(fds[0]);
  out.control = UniqueFd(fds[1]);
  return true;
}

}  // namespace ebpf::fault

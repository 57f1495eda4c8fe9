// SPDX-License-Identifier: Apache-2.0
#include "producer/control_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>

#include "producer/control_listener.h"
#include "producer/control_message.h"
#include "producer/ring_report.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // Linux 6.16
#endif

namespace ebpf {
namespace {

// What a peer may cost. Per call of run_once(), per connection, in all.
constexpr int kAcceptsPerRun = 16;
constexpr int kMessagesPerRun = 8;
constexpr uint32_t kSpareConnections = 32;    // beyond the consumers
constexpr uint32_t kReservedConnections = 8;  // of those, for root and our own user
constexpr int kDrainPackets = 32;
constexpr long kPauseNs = 100'000'000;    // the listener rests when the system lacks memory
constexpr long kThrottleNs = 20'000'000;  // and for a moment, when connections come too fast
constexpr Rate kLogLines{5, 50};
constexpr uint64_t kMapsKeptUs = 250'000;

constexpr uint64_t kListenerTag = 0;
constexpr uint64_t kTimerTag = 1;
constexpr uint64_t kFirstConnectionTag = 2;

struct Connection {
  explicit Connection(const ControlLimits& limits) : messages(limits.connection_messages) {}

  UniqueFd fd;
  uint64_t tag = 0;
  ucred peer{};
  uint32_t consumer_id = 0;  // 0: has not joined
  std::string name;
  TokenBucket messages;
  UniqueFd statistics;  // while it is open, the kernel counts runs of programs for this peer
};

uint64_t monotonic_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

UniqueFd open_spare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// Ends a connection so that the peer can still read what was sent to it. Closing a socket
// with unread packets would reset the connection, and an error message would be lost: no
// more packets come in, and those that are there are dropped.
void hang_up(int fd) {
  shutdown(fd, SHUT_RDWR);
  char byte;
  for (int packet = 0; packet < kDrainPackets; ++packet) {
    if (recv(fd, &byte, 1, MSG_DONTWAIT) <= 0) return;
  }
}

bool send_whole(int fd, const void* message, size_t bytes) {
  return send(fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

bool send_with_descriptors(int fd, const void* message, size_t bytes,
                           const std::array<int, 2>& descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(descriptors))] = {};
  iovec part{const_cast<void*>(message), bytes};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(descriptors));
  std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof(descriptors));
  return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

}  // namespace

class ControlServer::Impl {
 public:
  Impl(ControlListener listener, UniqueFd epoll, UniqueFd timer, ControlHandlers handlers,
       ConsumerSlots& slots, RingWriter& writer, LogSink log, const ControlLimits& limits)
      : listener_(std::move(listener)),
        epoll_(std::move(epoll)),
        timer_(std::move(timer)),
        spare_(open_spare()),
        handlers_(std::move(handlers)),
        slots_(slots),
        writer_(writer),
        log_(std::move(log)),
        limits_(limits),
        accepts_(limits.accepts),
        budgets_(limits),
        report_(slots, writer) {}

  ~Impl() {
    while (!connections_.empty()) close_connection(connections_.begin()->second);
  }

  Result<> start() {
    // Descriptors that a peer sends are never taken; a kernel that can refuses them at the
    // sender, so that not even their closing is our business.
    const int no = 0;
    (void)setsockopt(listener_.fd(), SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
    if (!watch(listener_.fd(), EPOLLIN, kListenerTag) || !watch(timer_.get(), EPOLLIN, kTimerTag)) {
      return errno_error("cannot watch the control socket");
    }
    return Unit{};
  }

  int epoll_fd() const { return epoll_.get(); }
  uint64_t undelivered() const { return undelivered_.load(std::memory_order_relaxed); }

  ControlCounters counters() const {
    return {connections_refused_.load(std::memory_order_relaxed),
            joins_refused_.load(std::memory_order_relaxed),
            evicted_.load(std::memory_order_relaxed)};
  }

  void note_time() { report_.sample(monotonic_us()); }

  void run_once(int timeout_ms) {
    epoll_event ready[64];
    const int count = epoll_wait(epoll_.get(), ready, 64, timeout_ms);
    for (int i = 0; i < count; ++i) {
      const uint64_t tag = ready[i].data.u64;
      if (tag == kListenerTag) {
        accept_some();
      } else if (tag == kTimerTag) {
        resume_listener();
      } else if (auto found = connections_.find(tag); found != connections_.end()) {
        serve(found->second, ready[i].events);
      }
    }
    slots_.collect();
  }

 private:
  bool watch(int fd, uint32_t events, uint64_t tag) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  void log(LogLevel level, const std::string& line) {
    if (!log_) return;
    if (!log_lines_.take()) {
      ++log_lines_dropped_;
      return;
    }
    std::string dropped;
    if (log_lines_dropped_ > 0) {
      dropped = " (" + std::to_string(log_lines_dropped_) + " lines like it not shown)";
      log_lines_dropped_ = 0;
    }
    log_(level, line + dropped);
  }

  // ---- accepting ------------------------------------------------------------------

  void accept_some() {
    for (int i = 0; i < kAcceptsPerRun; ++i) {
      // Connections without end must not keep this thread busy without end. Those that wait
      // in the queue cost nothing.
      if (!accepts_.take()) return (void)rest(kThrottleNs);
      UniqueFd fd = accept_one();
      if (!fd && (errno == EMFILE || errno == ENFILE)) {
        // Left in the queue, the connection would keep the listener readable for ever. One
        // descriptor was kept, to tell the peer.
        spare_.reset();
        fd = accept_one();
        const int error = errno;
        if (fd) turn_away(fd.get(), EMFILE, "the producer has no file descriptors left");
        fd.reset();
        spare_ = open_spare();
        if (!spare_ || error == EMFILE || error == ENFILE) return pause_listener();
        if (error == EAGAIN) return;
      } else if (fd) {
        admit(std::move(fd));
      } else if (errno == ENOMEM || errno == ENOBUFS) {
        return pause_listener();
      } else if (errno != EINTR && errno != ECONNABORTED) {
        return;
      }
    }
  }

  // errno is 0 where it succeeds.
  UniqueFd accept_one() const {
    errno = 0;
    return UniqueFd(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }

  // No new connections for so long.
  bool rest(long time_ns) {
    itimerspec once{};
    once.it_value.tv_nsec = time_ns;
    if (timerfd_settime(timer_.get(), 0, &once, nullptr) != 0) return false;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.fd(), nullptr);
    return true;
  }

  void pause_listener() {
    if (!rest(kPauseNs)) return;
    log(LogLevel::kWarn, "out of file descriptors or memory: new connections have to wait");
  }

  void resume_listener() {
    uint64_t expirations;
    (void)!read(timer_.get(), &expirations, sizeof(expirations));
    if (!spare_) spare_ = open_spare();
    if (!watch(listener_.fd(), EPOLLIN, kListenerTag) && errno != EEXIST) pause_listener();
  }

  void admit(UniqueFd fd) {
    Connection connection(limits_);
    socklen_t length = sizeof(connection.peer);
    if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &connection.peer, &length) != 0) return;
    if (!budgets_.of(connection.peer.uid).connections.take()) {
      return turn_away(fd.get(), EAGAIN,
                       "busy: uid " + std::to_string(connection.peer.uid) + " opens more than " +
                           per_second(limits_.user_connections) + " connections, try again");
    }
    const uint32_t limit = slots_.max_consumers() + kSpareConnections -
                           (may_control(connection) ? 0 : kReservedConnections);
    if (connections_.size() >= limit) {
      return turn_away(
          fd.get(), EUSERS,
          std::to_string(connections_.size()) + " connections are open, more are not served");
    }
    const uint64_t tag = next_tag_++;
    if (!watch(fd.get(), EPOLLIN | EPOLLRDHUP, tag)) {
      return turn_away(fd.get(), errno, "the producer cannot watch one more connection");
    }
    connection.fd = std::move(fd);
    connection.tag = tag;
    connections_.emplace(tag, std::move(connection));
  }

  static std::string per_second(const Rate& rate) {
    return std::to_string(static_cast<int>(rate.per_second)) + " per second";
  }

  static void count(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  void turn_away(int fd, int error, const std::string& text) {
    count(connections_refused_);
    const ebpf_msg_error message = error_message(error, text);
    (void)send_whole(fd, &message, sizeof(message));
    hang_up(fd);
    log(LogLevel::kWarn, "connection turned away: " + text);
  }

  // ---- one connection -------------------------------------------------------------
  // Every function here that takes messages returns whether the connection goes on.

  void serve(Connection& connection, uint32_t events) {
    bool open = true;
    bool gone = false;  // by its own doing
    if ((events & (EPOLLHUP | EPOLLERR)) && connection.consumer_id != 0) {
      open = false;
      gone = true;
    }
    for (int i = 0; open && i < kMessagesPerRun; ++i) {
      Packet packet;
      const ssize_t bytes = receive(connection, &packet);
      if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
      gone = bytes <= 0;
      open = !gone && take(connection, packet, static_cast<size_t>(bytes));
    }
    if (open) return;
    if (connection.consumer_id != 0 && !gone) count(evicted_);
    close_connection(connection);
  }

  struct Packet {
    alignas(8) char bytes[sizeof(ebpf_msg_join)];  // the longest message that we take
    int flags = 0;
  };

  // Without a control buffer the kernel installs no descriptor, and says so in the flags.
  static ssize_t receive(const Connection& connection, Packet* packet) {
    iovec part{packet->bytes, sizeof(packet->bytes)};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const ssize_t bytes = recvmsg(connection.fd.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    packet->flags = header.msg_flags;
    return bytes;
  }

  bool take(Connection& connection, const Packet& packet, size_t bytes) {
    if (!connection.messages.take()) {
      return reject(connection, {EAGAIN, "too many messages: more than " +
                                             per_second(limits_.connection_messages)});
    }
    if (!budgets_.of(connection.peer.uid).messages.take()) {
      return reject(connection,
                    {EAGAIN, "too many messages of uid " + std::to_string(connection.peer.uid) +
                                 ": more than " + per_second(limits_.user_messages)});
    }
    auto type = check_message(packet.bytes, bytes, packet.flags);
    if (!type) return reject(connection, type.error());
    switch (*type) {
      case EBPF_MSG_JOIN:
        return join(connection, packet);
      case EBPF_MSG_GET_STATS:
        return answer_stats(connection);
      case EBPF_MSG_GET_OFFSETS:
        return answer_offsets(connection);
      case EBPF_MSG_GET_RING:
        return answer_ring(connection, packet);
      case EBPF_MSG_GET_PROGRAMS:
        return answer_programs(connection, packet);
      case EBPF_MSG_GET_MAPS:
        return answer_maps(connection, packet);
      case EBPF_MSG_EVICT:
        return evict(connection, packet);
      case EBPF_MSG_START:
        return control(connection, handlers_.start, "started");
      default:
        return control(connection, handlers_.stop, "stopped");
    }
  }

  bool join(Connection& connection, const Packet& packet) {
    ebpf_msg_join request;
    std::memcpy(&request, packet.bytes, sizeof(request));
    if (request.layout_version != EBPF_RING_LAYOUT_VERSION) {
      return reject(connection,
                    {EPROTO, "ring layout version " + std::to_string(request.layout_version) +
                                 " asked for, this producer writes version " +
                                 std::to_string(EBPF_RING_LAYOUT_VERSION)});
    }
    if (connection.consumer_id != 0) {
      return answer_error(connection, {EALREADY, "this connection has joined already"});
    }
    if (auto allowed = may_join(connection); !allowed) {
      count(joins_refused_);
      return answer_error(connection, allowed.error());
    }
    ConsumerInfo info;
    info.pid = connection.peer.pid;
    info.uid = connection.peer.uid;
    connection.name = printable_name(request.name);
    std::memcpy(info.name, connection.name.data(), connection.name.size());
    auto attached = slots_.attach(connection.fd.get(), info);
    if (!attached) {
      log(LogLevel::kWarn, who(connection) + " cannot join: " + attached.error().message);
      count(joins_refused_);
      return answer_error(connection, attached.error());
    }
    connection.consumer_id = attached->id;
    log(LogLevel::kInfo, who(connection) + " joined");
    return answer_joined(connection, *attached);
  }

  // Within what its user may do. A refusal costs next to nothing; honest ones try again.
  Result<> may_join(const Connection& connection) {
    const uid_t uid = connection.peer.uid;
    if (!budgets_.of(uid).joins.take()) {
      return Error{EAGAIN, "busy: uid " + std::to_string(uid) + " joins more than " +
                               per_second(limits_.user_joins) + ", try again"};
    }
    if (uid == 0) return Unit{};
    const uint32_t most = user_slots_max(slots_.max_consumers());
    const auto held = std::count_if(connections_.begin(), connections_.end(), [uid](auto& each) {
      return each.second.consumer_id != 0 && each.second.peer.uid == uid;
    });
    if (static_cast<uint32_t>(held) < most) return Unit{};
    return Error{EUSERS, "uid " + std::to_string(uid) + " holds " + std::to_string(held) +
                             " consumer slots, the most that one user may have of " +
                             std::to_string(slots_.max_consumers())};
  }

  bool answer_joined(const Connection& connection, const ConsumerSlots::Attached& attached) {
    ebpf_msg_joined joined{};
    joined.header = message_header(EBPF_MSG_JOINED, sizeof(joined));
    joined.epoch = slots_.epoch();
    joined.data_bytes = writer_.header().total_bytes;
    joined.control_bytes = EBPF_CONTROL_BYTES;
    joined.consumer_id = attached.id;
    return send_with_descriptors(connection.fd.get(), &joined, sizeof(joined),
                                 {writer_.read_only_fd(), attached.control_fd.get()});
  }

  bool answer_stats(const Connection& connection) {
    ebpf_msg_stats stats{};
    if (handlers_.fill_stats) handlers_.fill_stats(&stats);
    stats.header = message_header(EBPF_MSG_STATS, sizeof(stats));
    stats.consumer_count = slots_.count();
    stats.connections_refused = counters().connections_refused;
    stats.joins_refused = counters().joins_refused;
    stats.evicted = counters().evicted;
    return send_whole(connection.fd.get(), &stats, sizeof(stats));
  }

  bool answer_offsets(const Connection& connection) {
    ebpf_msg_offsets offsets{};
    if (handlers_.fill_offsets) handlers_.fill_offsets(&offsets);
    offsets.header = message_header(EBPF_MSG_OFFSETS, sizeof(offsets));
    return send_whole(connection.fd.get(), &offsets, sizeof(offsets));
  }

  // ---- pages ----------------------------------------------------------------------

  static uint32_t first_of_page(const Packet& packet) {
    ebpf_msg_get_page request;
    std::memcpy(&request, packet.bytes, sizeof(request));
    return request.from;
  }

  // The rows from index `from` on, as many as a message takes.
  template <class Message, class Row>
  static void fill_page(Message* message, const std::vector<Row>& rows, uint32_t from) {
    const size_t first = std::min<size_t>(from, rows.size());
    const size_t count = std::min<size_t>(rows.size() - first, EBPF_ROWS_PER_PAGE);
    std::copy_n(rows.begin() + static_cast<ptrdiff_t>(first), count, message->rows);
    message->row_count = static_cast<uint32_t>(count);
    message->more = static_cast<uint32_t>(rows.size() - first - count);
  }

  bool answer_ring(const Connection& connection, const Packet& packet) {
    ebpf_msg_ring ring{};
    note_time();
    report_.fill(&ring, first_of_page(packet), monotonic_us());
    ring.header = message_header(EBPF_MSG_RING, sizeof(ring));
    return send_whole(connection.fd.get(), &ring, sizeof(ring));
  }

  // Counting costs every run of every program on the machine a little, so it lasts no longer
  // than the connection that asked, and not everybody may ask.
  uint32_t count_runs_for(Connection& connection) {
    if (connection.statistics) return EBPF_STATISTICS_ON;
    if (!may_control(connection)) return EBPF_STATISTICS_NOT_ALLOWED;
    if (!handlers_.count_runs) return EBPF_STATISTICS_NONE;
    auto counting = handlers_.count_runs();
    if (!counting) return EBPF_STATISTICS_NONE;
    connection.statistics = std::move(*counting);
    return EBPF_STATISTICS_ON;
  }

  bool answer_programs(Connection& connection, const Packet& packet) {
    ebpf_msg_programs programs{};
    programs.statistics = count_runs_for(connection);
    std::vector<ebpf_program_row> rows;
    if (handlers_.list_programs) handlers_.list_programs(&rows);
    fill_page(&programs, rows, first_of_page(packet));
    programs.header = message_header(EBPF_MSG_PROGRAMS, sizeof(programs));
    return send_whole(connection.fd.get(), &programs, sizeof(programs));
  }

  // Counting entries takes thousands of system calls: not for each question.
  void list_maps() {
    const uint64_t now_us = monotonic_us();
    if (!handlers_.list_maps || (!maps_.empty() && now_us - maps_listed_us_ < kMapsKeptUs)) return;
    maps_.clear();
    handlers_.list_maps(&maps_);
    maps_listed_us_ = now_us;
  }

  bool answer_maps(const Connection& connection, const Packet& packet) {
    ebpf_msg_maps maps{};
    list_maps();
    fill_page(&maps, maps_, first_of_page(packet));
    maps.header = message_header(EBPF_MSG_MAPS, sizeof(maps));
    return send_whole(connection.fd.get(), &maps, sizeof(maps));
  }

  // ---- control --------------------------------------------------------------------

  bool evict(Connection& connection, const Packet& packet) {
    ebpf_msg_evict request;
    std::memcpy(&request, packet.bytes, sizeof(request));
    if (!may_control(connection)) return answer_not_allowed(connection, "evict a consumer");
    auto found = std::find_if(connections_.begin(), connections_.end(), [&request](auto& each) {
      return request.consumer_id != 0 && each.second.consumer_id == request.consumer_id;
    });
    if (found == connections_.end()) {
      return answer_error(
          connection,
          {ENOENT, "no consumer " + std::to_string(request.consumer_id) + " is attached"});
    }
    Connection& consumer = found->second;
    if (consumer.tag == connection.tag) {
      return answer_error(connection, {EINVAL, "a consumer leaves by closing its connection"});
    }
    (void)answer_error(consumer, {ECANCELED, "evicted by " + who(connection)});
    log(LogLevel::kInfo, who(consumer) + " evicted by " + who(connection));
    count(evicted_);
    close_connection(consumer);
    return answer_ok(connection);
  }

  static bool answer_ok(const Connection& connection) {
    const ebpf_msg_header ok = message_header(EBPF_MSG_OK, sizeof(ok));
    return send_whole(connection.fd.get(), &ok, sizeof(ok));
  }

  static bool answer_not_allowed(const Connection& connection, const char* what) {
    return answer_error(
        connection,
        {EPERM, "only root and the producer's user (uid " + std::to_string(geteuid()) + ") may " +
                    what + ", not uid " + std::to_string(connection.peer.uid)});
  }

  static bool may_control(const Connection& connection) {
    return connection.peer.uid == 0 || connection.peer.uid == geteuid();
  }

  bool control(const Connection& connection, const std::function<Result<>()>& handler,
               const char* done) {
    if (!may_control(connection)) return answer_not_allowed(connection, "start or stop it");
    if (!handler) return answer_error(connection, {EOPNOTSUPP, "nothing here to start or stop"});
    if (auto result = handler(); !result) return answer_error(connection, result.error());
    log(LogLevel::kInfo, std::string("tracer ") + done + " by " + who(connection));
    return answer_ok(connection);
  }

  // A request that was understood and cannot be fulfilled.
  static bool answer_error(const Connection& connection, const Error& error) {
    const ebpf_msg_error message = error_message(error.code, error.message);
    return send_whole(connection.fd.get(), &message, sizeof(message));
  }

  // A peer that does not speak the protocol: tell it, and end.
  bool reject(const Connection& connection, const Error& error) {
    (void)answer_error(connection, error);
    log(LogLevel::kWarn, who(connection) + " closed: " + error.message);
    return false;
  }

  static std::string who(const Connection& connection) {
    std::string text = connection.consumer_id != 0
                           ? "consumer " + std::to_string(connection.consumer_id) + " ("
                           : std::string("peer (");
    if (!connection.name.empty()) text += connection.name + ", ";
    return text + "pid " + std::to_string(connection.peer.pid) + ", uid " +
           std::to_string(connection.peer.uid) + ")";
  }

  void close_connection(Connection& connection) {
    if (connection.consumer_id != 0) detach(connection);
    // The slots still have a duplicate for a moment: neither the watch nor the peer's view
    // of the connection would end with our descriptor alone.
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
    hang_up(connection.fd.get());
    connections_.erase(connection.tag);
  }

  void detach(const Connection& connection) {
    uint64_t published_seq[EBPF_LANES_MAX] = {};
    for (uint32_t lane = 0; lane < slots_.lane_count(); ++lane) {
      published_seq[lane] = writer_.initial_seq() + writer_.published(lane);
    }
    const uint64_t left =
        slots_.detach(connection.consumer_id, published_seq, writer_.initial_seq());
    undelivered_.store(undelivered() + left, std::memory_order_relaxed);
    log(LogLevel::kInfo, who(connection) + " left, " + std::to_string(left) + " records unread");
  }

  ControlListener listener_;
  UniqueFd epoll_;
  UniqueFd timer_;
  UniqueFd spare_;
  ControlHandlers handlers_;
  ConsumerSlots& slots_;
  RingWriter& writer_;
  LogSink log_;
  ControlLimits limits_;
  TokenBucket accepts_;
  PeerBudgets budgets_;
  RingReport report_;
  std::vector<ebpf_map_row> maps_;
  uint64_t maps_listed_us_ = 0;
  TokenBucket log_lines_{kLogLines};
  uint64_t log_lines_dropped_ = 0;
  std::map<uint64_t, Connection> connections_;
  uint64_t next_tag_ = kFirstConnectionTag;
  std::atomic<uint64_t> undelivered_{0};
  std::atomic<uint64_t> connections_refused_{0};
  std::atomic<uint64_t> joins_refused_{0};
  std::atomic<uint64_t> evicted_{0};
};

Result<std::unique_ptr<ControlServer>> ControlServer::create(const std::string& path,
                                                             ControlHandlers handlers,
                                                             ConsumerSlots& slots,
                                                             RingWriter& writer, LogSink log,
                                                             const ControlLimits& limits) {
  auto listener = ControlListener::open(path, log);
  if (!listener) return listener.error();
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll || !timer) return errno_error("cannot set up the control server");
  auto impl = std::make_unique<Impl>(std::move(*listener), std::move(epoll), std::move(timer),
                                     std::move(handlers), slots, writer, std::move(log), limits);
  if (auto started = impl->start(); !started) return started.error();
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

int ControlServer::epoll_fd() const { return impl_->epoll_fd(); }
void ControlServer::note_time() { impl_->note_time(); }
void ControlServer::run_once(int timeout_ms) { impl_->run_once(timeout_ms); }
uint64_t ControlServer::undelivered() const { return impl_->undelivered(); }
ControlCounters ControlServer::counters() const { return impl_->counters(); }

}  // namespace ebpf

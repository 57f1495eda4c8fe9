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
#include <cstring>
#include <map>

#include "producer/control_acceptor.h"
#include "producer/control_answers.h"
#include "producer/control_connection.h"
#include "producer/control_listener.h"
#include "producer/control_message.h"

namespace ebpf {
namespace {

// What a peer may cost. Per call of run_once(), per connection, in all.
constexpr int kMessagesPerRun = 8;
constexpr uint32_t kSpareConnections = 32;    // beyond the consumers
constexpr uint32_t kReservedConnections = 8;  // of those, for root and our own user
constexpr Rate kLogLines{5, 50};

constexpr uint64_t kFirstConnectionTag = ControlAcceptor::kTimerTag + 1;

}  // namespace

class ControlServer::Impl {
 public:
  Impl(ControlListener listener, UniqueFd epoll, UniqueFd timer, ControlHandlers handlers,
       ConsumerSlots& slots, RingWriter& writer, LogSink log, const ControlLimits& limits)
      : epoll_(std::move(epoll)),
        handlers_(std::move(handlers)),
        slots_(slots),
        writer_(writer),
        log_(std::move(log)),
        limits_(limits),
        budgets_(limits),
        answers_(handlers_, slots, writer),
        acceptor_(
            std::move(listener), std::move(timer), epoll_.get(), limits,
            {[this](UniqueFd fd) { admit(std::move(fd)); },
             [this](int fd, int error, const std::string& text) { turn_away(fd, error, text); },
             [this](LogLevel level, const std::string& line) { this->log(level, line); }}) {}

  ~Impl() {
    while (!connections_.empty()) close_connection(connections_.begin()->second);
  }

  Result<> start() { return acceptor_.start(); }

  int epoll_fd() const { return epoll_.get(); }
  uint64_t undelivered() const { return undelivered_.load(std::memory_order_relaxed); }

  ControlCounters counters() const {
    return {connections_refused_.load(std::memory_order_relaxed),
            joins_refused_.load(std::memory_order_relaxed),
            evicted_.load(std::memory_order_relaxed)};
  }

  void note_time() { answers_.note_time(); }

  void run_once(int timeout_ms) {
    epoll_event ready[64];
    const int count = epoll_wait(epoll_.get(), ready, 64, timeout_ms);
    for (int i = 0; i < count; ++i) {
      const uint64_t tag = ready[i].data.u64;
      if (tag == ControlAcceptor::kListenerTag) {
        acceptor_.accept_some();
      } else if (tag == ControlAcceptor::kTimerTag) {
        acceptor_.resume();
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
        return answers_.stats(connection, counters());
      case EBPF_MSG_GET_OFFSETS:
        return answers_.offsets(connection);
      case EBPF_MSG_GET_RING:
        return answers_.ring(connection, packet);
      case EBPF_MSG_GET_PROGRAMS:
        return answers_.programs(connection, packet);
      case EBPF_MSG_GET_MAPS:
        return answers_.maps(connection, packet);
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

  bool control(const Connection& connection, const std::function<Result<>()>& handler,
               const char* done) {
    if (!may_control(connection)) return answer_not_allowed(connection, "start or stop it");
    if (!handler) return answer_error(connection, {EOPNOTSUPP, "nothing here to start or stop"});
    if (auto result = handler(); !result) return answer_error(connection, result.error());
    log(LogLevel::kInfo, std::string("tracer ") + done + " by " + who(connection));
    return answer_ok(connection);
  }

  // A peer that does not speak the protocol: tell it, and end.
  bool reject(const Connection& connection, const Error& error) {
    (void)answer_error(connection, error);
    log(LogLevel::kWarn, who(connection) + " closed: " + error.message);
    return false;
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

  UniqueFd epoll_;
  ControlHandlers handlers_;
  ConsumerSlots& slots_;
  RingWriter& writer_;
  LogSink log_;
  ControlLimits limits_;
  PeerBudgets budgets_;
  ControlAnswers answers_;
  ControlAcceptor acceptor_;
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

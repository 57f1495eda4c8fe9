// SPDX-License-Identifier: Apache-2.0
#include "consumer/control_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "libebpf/detail/escape.h"

namespace ebpf {
namespace {

// More CPUs than any kernel can be built for cannot be true.
constexpr uint32_t kCpusMax = 65536;
// Nor can longer lists of programs or maps.
constexpr uint32_t kRowsMax = 4096;

Error bad_answer(const std::string& what) {
  return {EBADMSG, "the producer's answer cannot be valid: " + what};
}

std::string got_and_want(const std::string& what, uint64_t got, uint64_t want) {
  return what + " is " + std::to_string(got) + ", must be " + std::to_string(want);
}

// The producer's own words. Only the codes that decide an exit code are kept: an ENOENT
// of the producer's must not look as if there were no producer.
Error remote_error(const ebpf_msg_error& answer) {
  const std::string text = escape(bounded_string(answer.text));
  const bool kept = answer.error == EPERM || answer.error == EACCES || answer.error == EPROTO;
  const char* name = answer.error > 0 ? strerrordesc_np(answer.error) : nullptr;
  return {kept ? answer.error : EREMOTEIO,
          "the producer answered: " + (text.empty() ? "(no text)" : text) + " (" +
              (name ? name : "error " + std::to_string(answer.error)) + ")"};
}

// Checks what every packet must have, whatever its type.
Result<> check_header(const ebpf_msg_header& header, size_t packet_bytes) {
  if (header.magic != EBPF_MSG_MAGIC) {
    return bad_answer(got_and_want("its magic", header.magic, EBPF_MSG_MAGIC));
  }
  if (header.version != EBPF_PROTOCOL_VERSION) {
    return Error{EPROTO, "the producer speaks version " + std::to_string(header.version) +
                             " of the control protocol, this program version " +
                             std::to_string(EBPF_PROTOCOL_VERSION) +
                             ": use the release of the producer's"};
  }
  if (header.length_bytes != packet_bytes) {
    return bad_answer(got_and_want("its length field", header.length_bytes, packet_bytes));
  }
  return Unit{};
}

ebpf_msg_header request_header(uint16_t type, size_t length_bytes) {
  return {EBPF_MSG_MAGIC, EBPF_PROTOCOL_VERSION, type, static_cast<uint32_t>(length_bytes), 0};
}

Error connect_error(const std::string& path, int code) {
  const std::string shown = escape(path);
  switch (code) {
    case ENOENT:
      return {code, "no producer at " + shown + ": " + std::strerror(code) +
                        " (is ebpf-producer running with this --socket?)"};
    case ECONNREFUSED:
      return {code, "no producer listens at " + shown + ": " + std::strerror(code)};
    case EACCES:
    case EPERM:
      return {code, "not allowed to connect to " + shown + ": " + std::strerror(code) +
                        " (needs root, or membership of the group " EBPF_SOCKET_GROUP ")"};
    case EPROTOTYPE:
      return {code, shown + " is not a producer's control socket: " + std::strerror(code)};
    default:
      return {code, "cannot connect to " + shown + ": " + std::strerror(code)};
  }
}

timeval to_timeval(std::chrono::microseconds time) {
  return {.tv_sec = static_cast<time_t>(time.count() / 1000000),
          .tv_usec = static_cast<suseconds_t>(time.count() % 1000000)};
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& path,
                                             std::chrono::milliseconds timeout) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error{ENAMETOOLONG, "the socket path has " + std::to_string(path.size()) +
                                   " bytes, must have 1 to " +
                                   std::to_string(sizeof(address.sun_path) - 1)};
  }
  std::memcpy(address.sun_path, path.data(), path.size());

  const auto deadline = Clock::now() + timeout;
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("cannot make a socket");

  // A producer that accepts nobody would hold connect() for ever once its backlog is full.
  // The same bound holds for send().
  const timeval bound = to_timeval(timeout);
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)) != 0) {
    return errno_error("cannot set the socket's timeout");
  }
  int result;
  do {
    result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } while (result != 0 && errno == EINTR && Clock::now() < deadline);

  ControlClient client(std::move(fd), path, timeout, deadline);
  if (result != 0 && errno == EAGAIN) return client.timed_out();
  if (result != 0) return connect_error(path, errno);
  return client;
}

Error ControlClient::timed_out() const {
  return {ETIMEDOUT, "the producer at " + escape(path_) + " did not answer within " +
                         std::to_string(timeout_.count()) + " ms"};
}

Result<> ControlClient::send_request(const void* request, size_t request_bytes) {
  ssize_t sent;
  do {
    sent = ::send(fd_.get(), request, request_bytes, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR && Clock::now() < deadline_);
  if (sent == static_cast<ssize_t>(request_bytes)) return Unit{};
  // A producer that closed the connection at once may have said why: the answer is read
  // all the same.
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return Unit{};
  if (sent < 0 && errno == EAGAIN) return timed_out();
  return errno_error("cannot send to the producer at " + escape(path_));
}

Result<> ControlClient::wait_readable() {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd poll_fd{fd_.get(), POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0) return Unit{};
    if (ready == 0) return timed_out();
    if (errno != EINTR) return errno_error("cannot wait for the producer's answer");
  }
}

Result<size_t> ControlClient::receive(void* packet, size_t packet_bytes) {
  if (auto ready = wait_readable(); !ready) return ready.error();
  // MSG_TRUNC tells the packet's real length. Descriptors that a peer may attach are
  // dropped by the kernel, as there is no room for them.
  auto take = [&] { return ::recv(fd_.get(), packet, packet_bytes, MSG_TRUNC | MSG_DONTWAIT); };
  ssize_t got = take();
  // A peer that answered and closed without reading the request: the reset is told first,
  // the answer is still there.
  if (got < 0 && errno == ECONNRESET) got = take();
  if (got < 0) return errno_error("cannot read the producer's answer");
  if (got == 0) return bad_answer("it closed the connection without one");
  return static_cast<size_t>(got);
}

Result<> ControlClient::exchange(uint16_t request_type, uint16_t answer_type, void* answer,
                                 size_t answer_bytes) {
  const ebpf_msg_header request = request_header(request_type, sizeof(request));
  return exchange(&request, sizeof(request), answer_type, answer, answer_bytes);
}

Result<> ControlClient::exchange(const void* request, size_t request_bytes, uint16_t answer_type,
                                 void* answer, size_t answer_bytes) {
  // The first answer shares its time with connecting; each one after that has all of it.
  if (answered_) deadline_ = Clock::now() + timeout_;
  if (auto sent = send_request(request, request_bytes); !sent) return sent;

  // Large enough for every message, so that the version is seen before the length.
  union {
    ebpf_msg_header header;
    ebpf_msg_error error;
    ebpf_msg_stats stats;
    ebpf_msg_offsets offsets;
    ebpf_msg_ring ring;
    ebpf_msg_programs programs;
    ebpf_msg_maps maps;
  } packet{};
  auto received = receive(&packet, sizeof(packet));
  if (!received) return received.error();
  const size_t length = *received;
  if (length < sizeof(packet.header)) {
    return bad_answer("it has " + std::to_string(length) + " bytes, not even a header");
  }
  if (auto valid = check_header(packet.header, length); !valid) return valid;
  if (packet.header.type == EBPF_MSG_ERROR && length == sizeof(packet.error)) {
    return remote_error(packet.error);
  }
  if (packet.header.type != answer_type) {
    return bad_answer(got_and_want("its type", packet.header.type, answer_type));
  }
  if (length != answer_bytes) return bad_answer(got_and_want("its length", length, answer_bytes));
  std::memcpy(answer, &packet, answer_bytes);
  answered_ = true;
  return Unit{};
}

Result<ebpf_msg_stats> ControlClient::get_stats() {
  ebpf_msg_stats stats;
  auto done = exchange(EBPF_MSG_GET_STATS, EBPF_MSG_STATS, &stats, sizeof(stats));
  if (!done) return done.error();
  if (stats.lane_count > EBPF_LANES_MAX) {
    return bad_answer("it tells of " + std::to_string(stats.lane_count) + " lanes, at most " +
                      std::to_string(EBPF_LANES_MAX) + " are possible");
  }
  return stats;
}

Result<ebpf_msg_offsets> ControlClient::get_offsets() {
  ebpf_msg_offsets offsets;
  auto done = exchange(EBPF_MSG_GET_OFFSETS, EBPF_MSG_OFFSETS, &offsets, sizeof(offsets));
  if (!done) return done.error();
  if (offsets.entry_count > EBPF_OFFSET_ENTRIES_MAX || offsets.cpu_count > kCpusMax) {
    return bad_answer("it tells of " + std::to_string(offsets.entry_count) + " offsets and " +
                      std::to_string(offsets.cpu_count) + " CPUs, at most " +
                      std::to_string(EBPF_OFFSET_ENTRIES_MAX) + " and " + std::to_string(kCpusMax) +
                      " are possible");
  }
  return offsets;
}

// One page of a list; the rows that it announces are there.
template <class Message>
Result<Message> ControlClient::get_page(uint16_t request_type, uint16_t answer_type,
                                        uint32_t from) {
  ebpf_msg_get_page request{};
  request.header = request_header(request_type, sizeof(request));
  request.from = from;
  Message page;
  auto done = exchange(&request, sizeof(request), answer_type, &page, sizeof(page));
  if (!done) return done.error();
  const bool goes_on = page.more == 0 || page.row_count > 0;
  if (page.row_count > EBPF_ROWS_PER_PAGE || page.more > kRowsMax || !goes_on) {
    return bad_answer("a page of " + std::to_string(page.row_count) + " rows, and " +
                      std::to_string(page.more) + " behind it");
  }
  return page;
}

Result<RingState> ControlClient::get_ring() {
  RingState state{};
  uint32_t last_id = 0;
  do {
    auto page = get_page<ebpf_msg_ring>(EBPF_MSG_GET_RING, EBPF_MSG_RING, last_id);
    if (!page) return page.error();
    state.ring = *page;
    for (uint32_t i = 0; i < page->row_count; ++i) {
      if (page->rows[i].id <= last_id) return bad_answer("its consumers are not in order");
      last_id = page->rows[i].id;
      state.consumers.push_back(page->rows[i]);
    }
    if (state.consumers.size() > EBPF_CONSUMERS_MAX) return bad_answer("too many consumers");
  } while (state.ring.more > 0);
  if (state.ring.lane_count > EBPF_LANES_MAX) {
    return bad_answer(got_and_want("its number of lanes", state.ring.lane_count, EBPF_LANES_MAX));
  }
  return state;
}

Result<ProgramList> ControlClient::get_programs() {
  ProgramList list{};
  for (bool more = true; more;) {
    auto page = get_page<ebpf_msg_programs>(EBPF_MSG_GET_PROGRAMS, EBPF_MSG_PROGRAMS,
                                            static_cast<uint32_t>(list.rows.size()));
    if (!page) return page.error();
    list.statistics = page->statistics;
    list.rows.insert(list.rows.end(), page->rows, page->rows + page->row_count);
    if (list.rows.size() > kRowsMax) return bad_answer("too many programs");
    more = page->more > 0;
  }
  return list;
}

Result<std::vector<ebpf_map_row>> ControlClient::get_maps() {
  std::vector<ebpf_map_row> rows;
  for (bool more = true; more;) {
    auto page = get_page<ebpf_msg_maps>(EBPF_MSG_GET_MAPS, EBPF_MSG_MAPS,
                                        static_cast<uint32_t>(rows.size()));
    if (!page) return page.error();
    rows.insert(rows.end(), page->rows, page->rows + page->row_count);
    if (rows.size() > kRowsMax) return bad_answer("too many maps");
    more = page->more > 0;
  }
  return rows;
}

Result<> ControlClient::evict(uint32_t consumer_id) {
  ebpf_msg_evict request{};
  request.header = request_header(EBPF_MSG_EVICT, sizeof(request));
  request.consumer_id = consumer_id;
  ebpf_msg_header answer;
  return exchange(&request, sizeof(request), EBPF_MSG_OK, &answer, sizeof(answer));
}

Result<> ControlClient::start() {
  ebpf_msg_header answer;
  return exchange(EBPF_MSG_START, EBPF_MSG_OK, &answer, sizeof(answer));
}

Result<> ControlClient::stop() {
  ebpf_msg_header answer;
  return exchange(EBPF_MSG_STOP, EBPF_MSG_OK, &answer, sizeof(answer));
}

}  // namespace ebpf

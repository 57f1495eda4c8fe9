// SPDX-License-Identifier: Apache-2.0
// struct tcp_sock: the sequence numbers, by watching what moves, and by how much, when a
// known number of bytes is written, arrives, and is read.
#include <netinet/tcp.h>

#include <algorithm>
#include <string>

#include "producer/offset_search_candidates.h"
#include "producer/offset_search_sockets.h"
#include "producer/offset_search_steps.h"

namespace ebpf::search {
namespace {

constexpr uint32_t kMostRounds = 12;
constexpr uint32_t kFewestRounds = 2;
constexpr uint32_t kAttempts = 10;

// Both ends of one direction.
struct Direction {
  int sender;
  int receiver;
};

// Sizes of one round. All below any MSS, so that each write is one segment, and different
// from round to round, so that nothing that lags one round behind can pass.
struct Sizes {
  uint32_t corked, flushed, first_read;
  explicit Sizes(uint32_t round)
      : corked(23 + 2 * round), flushed(17 + round), first_read(9 + round) {}
  uint32_t sent() const { return corked + flushed; }
};

// What the sock looked like in the steps of a round.
struct Round {
  Window sender_before, sender_corked, sender_after;
  Window receiver_before, receiver_unread, receiver_half_read, receiver_read;
};

struct SequenceFields {
  Candidates copied_seq{"tcp_sock.copied_seq", 4, kSockWindow};
  Candidates write_seq{"tcp_sock.write_seq", 4, kSockWindow};
  Candidates rcv_nxt{"tcp_sock.rcv_nxt", 4, kSockWindow};

  bool all_unique() const {
    return copied_seq.is_unique() && write_seq.is_unique() && rcv_nxt.is_unique();
  }
};

uint32_t word(const Window& window, uint32_t offset) {
  uint32_t value = 0;
  window.get(offset, &value);
  return value;
}

bool moved_by(const Window& before, const Window& after, uint32_t offset, uint32_t count) {
  return word(after, offset) - word(before, offset) == count;
}

Result<> set_tcp_option(int fd, int option, int value) {
  if (setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value)) != 0)
    return errno_error("setting TCP option " + std::to_string(option));
  return Unit{};
}

Result<> send_bytes(int fd, uint32_t count, int flags) {
  const char data[128] = {};
  if (send(fd, data, count, flags | MSG_NOSIGNAL) != static_cast<ssize_t>(count))
    return errno_error("sending on a TCP connection on loopback");
  return Unit{};
}

Result<> read_bytes(int fd, uint32_t count) {
  char data[128];
  if (recv(fd, data, count, 0) != static_cast<ssize_t>(count))
    return errno_error("receiving on a TCP connection on loopback");
  return Unit{};
}

bool has_unread(int fd, uint32_t count) {
  auto unread = unread_bytes(fd);
  return unread && *unread == static_cast<int>(count);
}

// The steps of one round. False: the kernel sent the corked bytes early (it does so after
// 200 ms), so the round says nothing; everything is read all the same.
Result<bool> play(SearchState& state, Direction direction, const Sizes& sizes, Round* round) {
  Error failure;
  auto look = [&](int fd, Window* window) {
    auto seen = sock_window(state, fd);
    if (seen)
      *window = std::move(*seen);
    else
      failure = seen.error();
  };
  auto must = [&](Result<> done) {
    if (!done && failure.code == 0) failure = done.error();
  };
  // Acknowledge late, so that what the receiver has acknowledged lags behind rcv_nxt.
  must(set_tcp_option(direction.receiver, TCP_QUICKACK, 0));
  look(direction.sender, &round->sender_before);
  look(direction.receiver, &round->receiver_before);

  // Written but not sent: write_seq moves, what was sent and what was pushed do not.
  must(send_bytes(direction.sender, sizes.corked, MSG_MORE));
  look(direction.sender, &round->sender_corked);
  bool stayed = has_unread(direction.receiver, 0);

  // Arrived but not read: rcv_nxt moves, copied_seq does not.
  must(send_bytes(direction.sender, sizes.flushed, 0));
  if (failure.code != 0) return failure;
  if (!wait_until([&] { return has_unread(direction.receiver, sizes.sent()); }))
    return errno_error("waiting for data of a TCP connection on loopback", ETIMEDOUT);
  look(direction.receiver, &round->receiver_unread);
  look(direction.sender, &round->sender_after);

  must(read_bytes(direction.receiver, sizes.first_read));
  look(direction.receiver, &round->receiver_half_read);
  must(read_bytes(direction.receiver, sizes.sent() - sizes.first_read));
  look(direction.receiver, &round->receiver_read);
  if (failure.code != 0) return failure;
  return stayed;
}

bool any_equals(const Candidates& field, const Window& window, uint32_t value) {
  return std::any_of(field.offsets().begin(), field.offsets().end(),
                     [&](uint32_t offset) { return word(window, offset) == value; });
}

void narrow(const Round& round, const Sizes& sizes, SequenceFields* fields) {
  fields->write_seq.keep_if([&](uint32_t offset) {
    return moved_by(round.sender_before, round.sender_corked, offset, sizes.corked) &&
           moved_by(round.sender_corked, round.sender_after, offset, sizes.flushed);
  });
  fields->rcv_nxt.keep_if([&](uint32_t offset) {
    return moved_by(round.receiver_before, round.receiver_unread, offset, sizes.sent()) &&
           moved_by(round.receiver_unread, round.receiver_read, offset, 0);
  });
  fields->copied_seq.keep_if([&](uint32_t offset) {
    return moved_by(round.receiver_before, round.receiver_unread, offset, 0) &&
           moved_by(round.receiver_unread, round.receiver_half_read, offset, sizes.first_read) &&
           moved_by(round.receiver_half_read, round.receiver_read, offset,
                    sizes.sent() - sizes.first_read);
  });
  // Counters of bytes move alike, but only sequence numbers of the two ends are equal.
  fields->rcv_nxt.keep_if([&](uint32_t offset) {
    return any_equals(fields->write_seq, round.sender_after, word(round.receiver_read, offset));
  });
  fields->write_seq.keep_if([&](uint32_t offset) {
    return any_equals(fields->rcv_nxt, round.receiver_read, word(round.sender_after, offset));
  });
  fields->copied_seq.keep_if([&](uint32_t offset) {
    return any_equals(fields->rcv_nxt, round.receiver_read, word(round.receiver_read, offset));
  });
}

// Plays a round that counts.
Result<> play_and_narrow(SearchState& state, Direction direction, uint32_t number,
                         SequenceFields* fields) {
  for (uint32_t attempt = 0; attempt < kAttempts; attempt++) {
    Round round;
    Sizes sizes(number);
    auto counts = play(state, direction, sizes, &round);
    if (!counts) return counts.error();
    if (!*counts) continue;
    narrow(round, sizes, fields);
    return Unit{};
  }
  return errno_error("keeping bytes corked on a TCP connection on loopback", ETIMEDOUT);
}

Result<> watch_pairs(SearchState& state, SequenceFields* fields) {
  auto first = make_tcp_pair(AF_INET, next_loopback_address(), next_loopback_address());
  if (!first) return first.error();
  auto second = make_tcp_pair(state.has_ipv6 ? AF_INET6 : AF_INET, next_loopback_address(),
                              next_loopback_address());
  if (!second) return second.error();
  const Direction directions[] = {{first->client.get(), first->accepted.get()},
                                  {first->accepted.get(), first->client.get()},
                                  {second->client.get(), second->accepted.get()},
                                  {second->accepted.get(), second->client.get()}};
  for (const Direction& direction : directions)
    if (auto set = set_tcp_option(direction.sender, TCP_NODELAY, 1); !set) return set;
  // Every direction says its word; more rounds only where one was not enough.
  for (uint32_t round = 0; round < kMostRounds; round++) {
    if (round >= kFewestRounds && fields->all_unique()) break;
    for (const Direction& direction : directions)
      if (auto done = play_and_narrow(state, direction, round, fields); !done) return done;
  }
  return Unit{};
}

}  // namespace

Result<> find_sequence_numbers(SearchState& state) {
  SequenceFields fields;
  if (auto watched = watch_pairs(state, &fields); !watched)
    return field_error("tcp_sock.copied_seq, write_seq, rcv_nxt", watched.error());
  if (auto stored = fields.copied_seq.store(&state.table.tcp_copied_seq); !stored) return stored;
  if (auto stored = fields.write_seq.store(&state.table.tcp_write_seq); !stored) return stored;
  return fields.rcv_nxt.store(&state.table.tcp_rcv_nxt);
}

}  // namespace ebpf::search

// SPDX-License-Identifier: Apache-2.0
#include "run.h"

#include <signal.h>

#include <algorithm>
#include <cstring>

#include "crew.h"
#include "hostile.h"
#include "producer_loop.h"

namespace ebpf::bench {
namespace {

constexpr double kStartSeconds = 20;
constexpr double kEndSeconds = 30;

void consume(Channel& channel, Board& board, uint32_t index, const RunOptions& options) {
  Seat& seat = board.seats[index];
  auto reader = channel.open_reader(index);
  if (!reader) return board.fail(seat.failure, reader.error().message);
  Checker checker(options.channel.record_bytes, board, seat, options.pace == Pace::kSingles);
  if (options.pinned) pin_to(Cpu::kLast);
  seat.ready.store(1);
  for (;;) {
    const int count = (*reader)->read(checker);
    if (count < 0) break;
    checker.tell_position();
    if (count > 0) seat.last_ns = now_ns();
  }
}

void produce(Channel& channel, Board& board, const RunOptions& options) {
  auto writer = channel.open_writer();
  if (!writer) return board.fail(board.failure, writer.error().message);
  if (options.pinned) pin_to(Cpu::kFirst);
  board.writer_ready.store(1);
  while (board.go.load() == 0) {
    (*writer)->end_pass(now_ns());
    sleep_us(200);
  }
  if (!write_records(**writer, board, options)) {
    return board.fail(board.failure, "the producer cannot write");
  }
  board.over.store(1);
  (*writer)->finish();
}

std::string failure_of(const Board& board) {
  if (board.failure[0] != '\0') return board.failure;
  for (const Seat& seat : board.seats) {
    if (seat.failure[0] != '\0') return seat.failure;
  }
  return "a process of the run failed";
}

Result<> wait_for_all(Board& board, Crew& crew, uint32_t consumers) {
  const uint64_t until = now_ns() + static_cast<uint64_t>(kStartSeconds * 1e9);
  auto all_ready = [&] {
    if (board.writer_ready.load() == 0) return false;
    return std::all_of(board.seats, board.seats + consumers,
                       [](const Seat& seat) { return seat.ready.load() != 0; });
  };
  while (!all_ready()) {
    if (board.failed.load() != 0 || !crew.all_well()) return Error{EIO, failure_of(board)};
    if (now_ns() > until) return Error{ETIMEDOUT, "not everybody was ready in time"};
    sleep_us(200);
  }
  return Unit{};
}

RunResult collect(const Board& board, const RunOptions& options) {
  RunResult result;
  result.published = board.published;
  const auto wrote_ns = static_cast<double>(board.end_ns - board.start_ns);
  result.published_per_s = static_cast<double>(board.published) * 1e9 / wrote_ns;
  for (uint32_t i = 0; i < options.channel.consumers; ++i) {
    const Seat& seat = board.seats[i];
    const auto took_ns = static_cast<double>(std::max(seat.last_ns, board.end_ns) - board.start_ns);
    result.consumers.push_back({seat.delivered, seat.lost, seat.errors,
                                static_cast<double>(seat.delivered) * 1e9 / took_ns});
    result.samples_ns.insert(result.samples_ns.end(), seat.samples_ns,
                             seat.samples_ns + seat.sample_count);
    if (seat.errors > 0 && result.first_error.empty()) result.first_error = seat.failure;
  }
  result.ring_ns.assign(board.ring_ns, board.ring_ns + board.phase_count);
  result.memcpy_ns.assign(board.memcpy_ns, board.memcpy_ns + board.phase_count);
  return result;
}

}  // namespace

Result<RunResult> run_once(const Transport& transport, const RunOptions& options) {
  auto board = SharedBoard::create();
  if (!board) return board.error();
  auto channel = transport.create(options.channel);
  if (!channel) return channel.error();

  Crew crew;
  auto producer = crew.start("producer", [&] { produce(**channel, **board, options); });
  if (!producer) return producer.error();
  pid_t last = 0;
  for (uint32_t i = 0; i < options.channel.consumers; ++i) {
    auto consumer = crew.start("consumer", [&, i] { consume(**channel, **board, i, options); });
    if (!consumer) return consumer.error();
    last = *consumer;
  }
  channel->reset();  // the children have their own
  if (auto ready = wait_for_all(**board, crew, options.channel.consumers); !ready) {
    return ready.error();
  }
  pid_t hostile = 0;
  if (options.oddity == Oddity::kHostile) {
    auto started = crew.start("hostile consumer", [&] { be_hostile(options.channel, **board); });
    if (!started) return started.error();
    hostile = *started;
    sleep_us(20'000);
  }
  if (options.oddity == Oddity::kStopped) kill(last, SIGSTOP);
  (*board)->go.store(1);
  const uint64_t until = now_ns() + static_cast<uint64_t>((options.seconds + kEndSeconds) * 1e9);
  while ((*board)->over.load() == 0) {
    if (now_ns() > until) return Error{ETIMEDOUT, "the producer did not come to an end"};
    if ((*board)->failed.load() != 0 || !crew.all_well()) return Error{EIO, failure_of(**board)};
    sleep_us(1000);
  }
  if (options.oddity == Oddity::kStopped) kill(last, SIGCONT);
  if (hostile != 0) crew.dismiss(hostile);
  if (auto ended = crew.wait(kEndSeconds); !ended) return ended.error();
  if ((*board)->failed.load() != 0) return Error{EIO, failure_of(**board)};
  return collect(**board, options);
}

}  // namespace ebpf::bench

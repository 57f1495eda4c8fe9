// SPDX-License-Identifier: Apache-2.0
#include "producer/control_answers.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "producer/control_message.h"

namespace ebpf {
namespace {

constexpr uint64_t kMapsKeptUs = 250'000;

uint64_t monotonic_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

uint32_t first_of_page(const Packet& packet) {
  ebpf_msg_get_page request;
  std::memcpy(&request, packet.bytes, sizeof(request));
  return request.from;
}

// The rows from index `from` on, as many as a message takes.
template <class Message, class Row>
void fill_page(Message* message, const std::vector<Row>& rows, uint32_t from) {
  const size_t first = std::min<size_t>(from, rows.size());
  const size_t count = std::min<size_t>(rows.size() - first, EBPF_ROWS_PER_PAGE);
  std::copy_n(rows.begin() + static_cast<ptrdiff_t>(first), count, message->rows);
  message->row_count = static_cast<uint32_t>(count);
  message->more = static_cast<uint32_t>(rows.size() - first - count);
}

}  // namespace

void ControlAnswers::note_time() { report_.sample(monotonic_us()); }

bool ControlAnswers::stats(const Connection& connection, const ControlCounters& counters) {
  ebpf_msg_stats stats{};
  if (handlers_.fill_stats) handlers_.fill_stats(&stats);
  stats.header = message_header(EBPF_MSG_STATS, sizeof(stats));
  stats.consumer_count = slots_.count();
  stats.connections_refused = counters.connections_refused;
  stats.joins_refused = counters.joins_refused;
  stats.evicted = counters.evicted;
  return send_whole(connection.fd.get(), &stats, sizeof(stats));
}

bool ControlAnswers::offsets(const Connection& connection) {
  ebpf_msg_offsets offsets{};
  if (handlers_.fill_offsets) handlers_.fill_offsets(&offsets);
  offsets.header = message_header(EBPF_MSG_OFFSETS, sizeof(offsets));
  return send_whole(connection.fd.get(), &offsets, sizeof(offsets));
}

bool ControlAnswers::ring(const Connection& connection, const Packet& packet) {
  ebpf_msg_ring ring{};
  note_time();
  report_.fill(&ring, first_of_page(packet), monotonic_us());
  ring.header = message_header(EBPF_MSG_RING, sizeof(ring));
  return send_whole(connection.fd.get(), &ring, sizeof(ring));
}

// Counting costs every run of every program on the machine a little, so it lasts no longer
// than the connection that asked, and not everybody may ask.
uint32_t ControlAnswers::count_runs_for(Connection& connection) {
  if (connection.statistics) return EBPF_STATISTICS_ON;
  if (!may_control(connection)) return EBPF_STATISTICS_NOT_ALLOWED;
  if (!handlers_.count_runs) return EBPF_STATISTICS_NONE;
  auto counting = handlers_.count_runs();
  if (!counting) return EBPF_STATISTICS_NONE;
  connection.statistics = std::move(*counting);
  return EBPF_STATISTICS_ON;
}

bool ControlAnswers::programs(Connection& connection, const Packet& packet) {
  ebpf_msg_programs programs{};
  programs.statistics = count_runs_for(connection);
  std::vector<ebpf_program_row> rows;
  if (handlers_.list_programs) handlers_.list_programs(&rows);
  fill_page(&programs, rows, first_of_page(packet));
  programs.header = message_header(EBPF_MSG_PROGRAMS, sizeof(programs));
  return send_whole(connection.fd.get(), &programs, sizeof(programs));
}

// Counting entries takes thousands of system calls: not for each question.
void ControlAnswers::list_maps() {
  const uint64_t now_us = monotonic_us();
  if (!handlers_.list_maps || (!maps_.empty() && now_us - maps_listed_us_ < kMapsKeptUs)) return;
  maps_.clear();
  handlers_.list_maps(&maps_);
  maps_listed_us_ = now_us;
}

bool ControlAnswers::maps(const Connection& connection, const Packet& packet) {
  ebpf_msg_maps maps{};
  list_maps();
  fill_page(&maps, maps_, first_of_page(packet));
  maps.header = message_header(EBPF_MSG_MAPS, sizeof(maps));
  return send_whole(connection.fd.get(), &maps, sizeof(maps));
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
#include "fixed_inference.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "bpf/infer.h"
#include "libebpf/ring_layout.h"
#include "libebpf/trace_file.h"

namespace ebpf::bench {
namespace {

struct Piece {
  infer_window window;
  infer_input input;
  infer_state* state;
};

struct Traffic {
  std::vector<Piece> pieces;
  std::map<uint64_t, infer_state> sockets;
};

void add(Traffic& traffic, const SK_BPF_DATA& data, const char* payload) {
  Piece piece = {};
  const uint32_t count = std::min<uint32_t>(data.cap_len, INFER_WINDOW_BYTES);
  std::memcpy(piece.window.bytes, payload, count);
  piece.input.count = count;
  piece.input.total = data.syscall_len;
  piece.input.is_tcp = data.tuple.protocol == 6;
  piece.input.direction = data.direction;
  piece.input.protocols = INFER_ALL_PROTOCOLS;
  piece.state = &traffic.sockets[data.socket_id];
  traffic.pieces.push_back(piece);
}

void read_traffic(const std::string& path, Traffic& traffic) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  trace_file_frame frame;
  ebpf_record record;
  for (size_t at = sizeof(trace_file_header); at + sizeof frame <= bytes.size();) {
    std::memcpy(&frame, &bytes[at], sizeof frame);
    at += sizeof frame;
    if (frame.body_bytes > bytes.size() - at) break;
    if (frame.body_bytes >= sizeof record) {
      std::memcpy(&record, &bytes[at], sizeof record);
      if (record.data.cap_len <= frame.body_bytes - sizeof record) {
        add(traffic, record.data, &bytes[at] + sizeof record);
      }
    }
    at += frame.body_bytes;
  }
}

}  // namespace

[[gnu::noinline]] uint64_t measured_infer(const Piece* piece, size_t count) {
  uint64_t all = 0;
  for (size_t i = 0; i < count; ++i, ++piece) all += infer(&piece->input, piece->state);
  return all;
}

std::string infer_recorded(const std::string& path, uint32_t records) {
  Traffic traffic;
  read_traffic(path, traffic);
  if (traffic.pieces.empty()) return "no records in " + path;
  for (Piece& piece : traffic.pieces) piece.input.window = &piece.window;
  volatile uint64_t all = 0;  // the compiler shall not leave the work out
  while (records > 0) {
    for (auto& [socket, state] : traffic.sockets) state = {};
    const auto count = std::min<size_t>(records, traffic.pieces.size());
    all = all + measured_infer(traffic.pieces.data(), count);
    records -= static_cast<uint32_t>(count);
  }
  return "";
}

}  // namespace ebpf::bench

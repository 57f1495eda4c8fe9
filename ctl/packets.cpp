// SPDX-License-Identifier: Apache-2.0
#include "ctl/packets.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "consumer/view/format.h"
#include "libebpf/control.h"

namespace ebpf::ctl {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint32_t kIpBytesMax = 65535;
constexpr uint32_t kTcpHeaderBytes = 20;
constexpr uint32_t kUdpHeaderBytes = 8;
constexpr uint32_t kIp4HeaderBytes = 20;
constexpr uint32_t kIp6HeaderBytes = 40;
// The largest segment that fits IPv4 and IPv6 alike.
constexpr uint32_t kSegmentBytes = kIpBytesMax - kIp4HeaderBytes - kTcpHeaderBytes;
constexpr uint32_t kDatagramBytes = kIpBytesMax - kIp4HeaderBytes - kUdpHeaderBytes;
// No call moves more (MAX_RW_COUNT); a damaged record may say so.
constexpr uint64_t kCallBytesMax = 0x7ffff000;
// A call of more bytes leaves a hole, rather than thousands of packets without any payload.
constexpr uint64_t kSegmentsMax = 1024;
constexpr size_t kConnectionsMax = 65536;

constexpr uint8_t kFlagPush = 0x08;
constexpr uint8_t kFlagAck = 0x10;

void put16(std::string& out, uint32_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}
void put32(std::string& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value);
}
void set16(std::string& bytes, size_t at, uint32_t value) {
  bytes[at] = static_cast<char>(value >> 8);
  bytes[at + 1] = static_cast<char>(value);
}

// The ones' complement sum of RFC 1071, not folded.
uint64_t sum16(std::string_view bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += uint64_t{static_cast<uint8_t>(bytes[i])} << (i % 2 == 0 ? 8 : 0);
  }
  return sum;
}
uint32_t checksum(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint32_t>(~sum) & 0xffff;
}

struct Path {
  std::string_view from, to;  // addresses
  uint16_t from_port, to_port;
};

std::string_view address(const uint8_t (&bytes)[16], uint8_t addr_len) {
  return {reinterpret_cast<const char*>(bytes), addr_len == 4 ? size_t{4} : size_t{16}};
}

Path path_of(const SK_BPF_DATA& data) {
  const tuple_t& tuple = data.tuple;
  const Path out{address(tuple.laddr, tuple.addr_len), address(tuple.raddr, tuple.addr_len),
                 tuple.lport, tuple.rport};
  if (data.direction == SOCK_DIR_SND) return out;
  return {out.to, out.from, out.to_port, out.from_port};
}

std::string ip_header(const SK_BPF_DATA& data, const Path& path, uint32_t ip_payload_bytes) {
  std::string out;
  if (data.tuple.addr_len == 4) {
    put16(out, 0x4500);
    put16(out, kIp4HeaderBytes + ip_payload_bytes);
    put32(out, 0x00004000);  // not fragmented
    put16(out, 64u << 8 | data.tuple.protocol);
    put16(out, 0);
    out += path.from;
    out += path.to;
    set16(out, 10, checksum(sum16(out)));
    return out;
  }
  put32(out, 0x60000000);
  put16(out, ip_payload_bytes);
  put16(out, uint32_t{data.tuple.protocol} << 8 | 64);
  out += path.from;
  out += path.to;
  return out;
}

// Of pseudo header, header and payload; all of the payload is there.
uint32_t transport_checksum(const SK_BPF_DATA& data, const Path& path, std::string_view header,
                            std::string_view payload) {
  const uint64_t pseudo =
      sum16(path.from) + sum16(path.to) + data.tuple.protocol + header.size() + payload.size();
  return checksum(pseudo + sum16(header) + sum16(payload));
}

std::string comment_of(const SK_BPF_DATA& data) {
  std::string text;
  const void* end = std::memchr(data.process_name, 0, sizeof data.process_name);
  const size_t name_bytes =
      end ? static_cast<size_t>(static_cast<const uint8_t*>(end) - data.process_name)
          : sizeof data.process_name;
  append_escaped(text, data.process_name, name_bytes, 4 * sizeof data.process_name, true);
  text += '[' + std::to_string(data.process_id) + '/' + std::to_string(data.thread_id) + "] ";
  text += direction_name(data.direction);
  text += ' ' + std::string(ebpf_protocol_name(data.l7_protocal_hint)) +
          (data.need_reconfirm ? "? " : " ") + message_type_name(data.msg_type);
  text += " sock=" + std::to_string(data.socket_id) + " seq=" + std::to_string(data.cap_seq) +
          " trace=" + std::to_string(data.syscall_trace_id_call) +
          " len=" + std::to_string(data.cap_len) + '/' + std::to_string(data.syscall_len);
  return text;
}

}  // namespace

std::string connection_key(const SK_BPF_DATA& data, uint32_t* end) {
  const tuple_t& tuple = data.tuple;
  const auto text = [&](const uint8_t(&bytes)[16], uint16_t port) {
    std::string key(address(bytes, tuple.addr_len));
    put16(key, port);
    return key;
  };
  const std::string local = text(tuple.laddr, tuple.lport);
  const std::string remote = text(tuple.raddr, tuple.rport);
  *end = local <= remote ? 0 : 1;
  std::string key = *end == 0 ? local + remote : remote + local;
  key += static_cast<char>(tuple.protocol);
  return key;
}

void PacketMaker::begin(std::string& out) {
  append_section_block(out, "ebpfctl " LIBEBPF_VERSION);
  append_interface_block(out, "libebpf", "socket calls of every process, as packets");
  if (both_sides_) {
    append_interface_block(out, "libebpf-other-side",
                           "the same connections, as the process at their other end saw them");
  }
}

PacketMaker::Connection& PacketMaker::find(const SK_BPF_DATA& data, uint32_t* end) {
  const std::string key = connection_key(data, end);
  if (const auto found = connections_.find(key); found != connections_.end()) return found->second;
  if (connections_.size() >= kConnectionsMax) {
    older_ = std::move(connections_);
    connections_.clear();
  }
  Connection connection;
  connection.first_end = *end;
  if (const auto found = older_.find(key); found != older_.end()) {
    connection = std::move(found->second);
    older_.erase(found);
  }
  return connections_.emplace(key, std::move(connection)).first->second;
}

void PacketMaker::add(std::string& out, const ebpf_record& record) {
  const SK_BPF_DATA& data = record.data;
  const bool known_address = data.tuple.addr_len == 4 || data.tuple.addr_len == 6;
  const uint8_t protocol = data.tuple.protocol;
  ++records_;
  if (!known_address || (protocol != kTcp && protocol != kUdp)) {
    ++skipped_;
    return;
  }
  if (first_us_ == 0) first_us_ = data.timestamp;
  last_us_ = std::max(last_us_, data.timestamp);
  uint32_t end = 0;
  Connection& connection = find(data, &end);
  if (protocol == kTcp) {
    add_tcp(out, record, connection, end);
  } else {
    add_udp(out, record, connection, end);
  }
}

void PacketMaker::add_tcp(std::string& out, const ebpf_record& record, Connection& connection,
                          uint32_t end) {
  const SK_BPF_DATA& data = record.data;
  uint64_t& known_id = connection.socket_ids[end];
  if (known_id != 0 && known_id != data.socket_id) {
    connection = Connection{};  // the same ports, another connection
    connection.first_end = end;
  }
  connection.socket_ids[end] = data.socket_id;
  const uint32_t sender = data.direction == SOCK_DIR_SND ? end : 1 - end;
  SeqRanges& sent = connection.sent[sender];
  const SeqRanges& answer = connection.sent[1 - sender];
  const uint64_t bytes =
      std::min(std::max<uint64_t>(data.syscall_len, data.cap_len), kCallBytesMax);
  const SeqRange range = sent.place(static_cast<uint32_t>(data.tcp_seq), bytes);

  const bool two_ends = connection.socket_ids[0] != 0 && connection.socket_ids[1] != 0;
  std::vector<SeqRange> parts{range};
  if (two_ends && !both_sides_) parts = sent.missing(range);
  if (parts.empty()) ++seen_twice_;
  interface_id_ = both_sides_ && end != connection.first_end ? 1 : 0;
  for (const SeqRange& part : parts) {
    write_range(out, record, part.begin - range.begin, static_cast<uint32_t>(part.begin),
                part.end - part.begin, answer);
  }
  sent.add(range);
}

void PacketMaker::write_range(std::string& out, const ebpf_record& record, uint64_t offset,
                              uint32_t seq, uint64_t bytes, const SeqRanges& answer) {
  const SK_BPF_DATA& data = record.data;
  const Path path = path_of(data);
  for (uint64_t segment = 0; bytes > 0 && segment < kSegmentsMax; ++segment) {
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes, kSegmentBytes));
    std::string tcp;
    put16(tcp, path.from_port);
    put16(tcp, path.to_port);
    put32(tcp, seq);
    // What the other end has sent so far was received, as far as anybody can tell.
    put32(tcp, answer.empty() ? 0 : answer.next());
    put16(tcp, 0x5000u | kFlagPush | (answer.empty() ? 0u : kFlagAck));
    put16(tcp, 65535);
    put32(tcp, 0);
    if (offset + length <= data.cap_len) {
      const auto* payload = reinterpret_cast<const char*>(ebpf_record_payload(&record)) + offset;
      set16(tcp, 16, transport_checksum(data, path, tcp, {payload, length}));
    }
    write_packet(out, record, ip_header(data, path, kTcpHeaderBytes + length) + tcp, offset,
                 length);
    offset += length;
    seq += length;
    bytes -= length;
  }
}

void PacketMaker::add_udp(std::string& out, const ebpf_record& record, Connection& connection,
                          uint32_t end) {
  const SK_BPF_DATA& data = record.data;
  const bool other_end = end != connection.first_end;
  if (other_end && !both_sides_) {
    ++seen_twice_;
    return;
  }
  interface_id_ = other_end ? 1 : 0;
  const uint64_t bytes = std::max<uint64_t>(data.syscall_len, data.cap_len);
  const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes, kDatagramBytes));
  const Path path = path_of(data);
  std::string udp;
  put16(udp, path.from_port);
  put16(udp, path.to_port);
  put16(udp, kUdpHeaderBytes + length);
  put16(udp, 0);
  if (length <= data.cap_len) {
    const auto* payload = reinterpret_cast<const char*>(ebpf_record_payload(&record));
    const uint32_t sum = transport_checksum(data, path, udp, {payload, length});
    set16(udp, 6, sum == 0 ? 0xffff : sum);
  }
  write_packet(out, record, ip_header(data, path, kUdpHeaderBytes + length) + udp, 0, length);
}

void PacketMaker::write_packet(std::string& out, const ebpf_record& record,
                               const std::string& headers, uint64_t offset, uint32_t wire_bytes) {
  const SK_BPF_DATA& data = record.data;
  const uint64_t captured =
      offset < data.cap_len ? std::min<uint64_t>(data.cap_len - offset, wire_bytes) : 0;
  packet_ = headers;
  if (captured > 0) {
    packet_.append(reinterpret_cast<const char*>(ebpf_record_payload(&record)) + offset, captured);
  }
  PacketBlock block;
  block.interface_id = interface_id_;
  block.timestamp_us = data.timestamp;
  block.direction =
      data.direction == SOCK_DIR_SND ? PacketDirection::kOutbound : PacketDirection::kInbound;
  block.bytes = {reinterpret_cast<const uint8_t*>(packet_.data()), packet_.size()};
  block.original_bytes = static_cast<uint32_t>(headers.size()) + wire_bytes;
  block.comments.push_back(comment_of(data));
  if (!gap_text_.empty()) {
    block.comments.push_back("before this: " + gap_text_);
    gap_text_.clear();
  }
  append_packet_block(out, block);
  ++packets_;
}

void PacketMaker::add_gap(const ebpf_gap& gap) {
  lost_ += gap.count;
  if (gap.cause == EBPF_GAP_PERF_FULL) lost_in_kernel_ += gap.count;
  if (gap.count == 0) unknown_loss_ = true;
  std::string text;
  append_text_gap(text, gap);
  text = text.substr(3, text.size() - 4);  // without the dashes and the line's end
  if (gap_text_.size() < 1000) gap_text_ += (gap_text_.empty() ? "" : "; ") + text;
  if (gap.cause != EBPF_GAP_RESTART) return;
  // Socket ids start anew.
  connections_.clear();
  older_.clear();
}

void PacketMaker::end(std::string& out) {
  StatisticsBlock statistics;
  statistics.start_us = first_us_;
  statistics.end_us = last_us_;
  statistics.received = records_ + lost_;
  statistics.dropped = lost_;
  statistics.dropped_by_os = lost_in_kernel_;
  statistics.comment = "counted in records: a record is one call that read or wrote";
  if (unknown_loss_) statistics.comment += "; more were lost, nobody knows how many";
  append_statistics_block(out, statistics);
}

}  // namespace ebpf::ctl

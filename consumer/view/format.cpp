// SPDX-License-Identifier: Apache-2.0
#include "consumer/view/format.h"

#include <arpa/inet.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "libebpf/control.h"

namespace ebpf {
namespace {

constexpr size_t kHexColumns = 16;
constexpr size_t kNameColumns = EBPF_COMM_BYTES * 4;  // every byte escaped

size_t name_length(const SK_BPF_DATA& data) {
  const void* end = std::memchr(data.process_name, 0, sizeof data.process_name);
  return end == nullptr ? sizeof data.process_name
                        : static_cast<size_t>(static_cast<const uint8_t*>(end) - data.process_name);
}

// Each byte as the code point of the same value, in UTF-8.
std::string latin1(const uint8_t* bytes, size_t count) {
  std::string text;
  text.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] < 0x80) {
      text += static_cast<char>(bytes[i]);
    } else {
      text += static_cast<char>(0xc0 | bytes[i] >> 6);
      text += static_cast<char>(0x80 | (bytes[i] & 0x3f));
    }
  }
  return text;
}

void append_time(std::string& out, uint64_t timestamp_us) {
  const auto seconds = static_cast<time_t>(timestamp_us / 1000000);
  tm local{};
  char text[40] = "??:??:??.??????";
  if (localtime_r(&seconds, &local) != nullptr) {
    std::snprintf(text, sizeof text, "%02d:%02d:%02d.%06u", local.tm_hour, local.tm_min,
                  local.tm_sec, static_cast<unsigned>(timestamp_us % 1000000));
  }
  out += text;
}

void append_endpoint(std::string& out, const uint8_t (&address)[16], const tuple_t& tuple,
                     uint16_t port) {
  const std::string text = address_text(address, tuple.addr_len);
  out += tuple.addr_len == 6 ? '[' + text + ']' : text;
  out += ':' + std::to_string(port);
}

void append_json_line(std::string& out, const nlohmann::ordered_json& object) {
  // ASCII only: a terminal gets no control code, C1 included, and a pipe no encoding to guess.
  out += object.dump(-1, ' ', true);
  out += '\n';
}

}  // namespace

bool append_escaped(std::string& out, const uint8_t* bytes, size_t count, size_t max_columns,
                    bool escape_space) {
  size_t columns = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t byte = bytes[i];
    char text[5] = {static_cast<char>(byte)};
    if (byte == '\\' || byte == '\t' || byte == '\r' || byte == '\n') {
      text[0] = '\\';
      text[1] = byte == '\\' ? '\\' : byte == '\t' ? 't' : byte == '\r' ? 'r' : 'n';
    } else if (byte < 0x20 || byte > 0x7e || (byte == ' ' && escape_space)) {
      std::snprintf(text, sizeof text, "\\x%02x", byte);
    }
    columns += std::strlen(text);
    if (columns > max_columns) return false;
    out += text;
  }
  return true;
}

std::string address_text(const uint8_t (&address)[16], uint8_t addr_len) {
  char text[INET6_ADDRSTRLEN];
  if (addr_len != 4 && addr_len != 6) return "?";
  const int family = addr_len == 4 ? AF_INET : AF_INET6;
  return inet_ntop(family, address, text, sizeof text) != nullptr ? text : "?";
}

const char* gap_cause_name(uint32_t cause) {
  switch (cause) {
    case EBPF_GAP_LAPPED:
      return "lapped";
    case EBPF_GAP_PERF_FULL:
      return "perf_full";
    case EBPF_GAP_NO_ROOM:
      return "no_room";
    case EBPF_GAP_RESTART:
      return "restart";
    case EBPF_GAP_CORRUPT:
      return "corrupt";
    default:
      return "unknown";
  }
}

const char* message_type_name(uint8_t msg_type) {
  if (msg_type == MSG_REQUEST) return "request";
  return msg_type == MSG_RESPONSE ? "response" : "unknown";
}

const char* direction_name(uint8_t direction) {
  return direction == SOCK_DIR_SND ? "send" : "recv";
}

namespace {

// The line of a record up to its length.
void append_head(std::string& out, const SK_BPF_DATA& data) {
  append_time(out, data.timestamp);
  out += ' ';
  append_escaped(out, data.process_name, name_length(data), kNameColumns, true);
  out += '[' + std::to_string(data.process_id) + '/' + std::to_string(data.thread_id) + "] ";
  append_endpoint(out, data.tuple.laddr, data.tuple, data.tuple.lport);
  out += data.direction == SOCK_DIR_SND ? " -> " : " <- ";
  append_endpoint(out, data.tuple.raddr, data.tuple, data.tuple.rport);
  out += ' ';
  out += direction_name(data.direction);
  out += ' ';
  out += ebpf_protocol_name(data.l7_protocal_hint);
  if (data.need_reconfirm) out += '?';
  out += ' ';
  out += message_type_name(data.msg_type);
  out += " sock=" + std::to_string(data.socket_id);
  out += " seq=" + std::to_string(data.cap_seq);
  out += " trace=" + std::to_string(data.syscall_trace_id_call);
  out += " len=" + std::to_string(data.cap_len) + '/' + std::to_string(data.syscall_len);
}

// One line of a dump: columns of unequal length are filled, so that the text lines up.
void append_hex_line(std::string& out, const uint8_t* bytes, size_t at, size_t count) {
  char text[16];
  std::snprintf(text, sizeof text, "    %04zx ", at);
  out += text;
  for (size_t i = 0; i < kHexColumns; ++i) {
    if (i == kHexColumns / 2) out += ' ';
    std::snprintf(text, sizeof text, i < count ? " %02x" : "   ", i < count ? bytes[i] : 0u);
    out += text;
  }
  out += "  ";
  for (size_t i = 0; i < count; ++i) {
    out += bytes[i] >= 0x20 && bytes[i] < 0x7f ? static_cast<char>(bytes[i]) : '.';
  }
  out += '\n';
}

}  // namespace

void append_first_line(std::string& out, const uint8_t* payload, size_t length,
                       size_t max_columns) {
  const uint8_t* end = std::find(payload, payload + length, '\n');
  if (end != payload + length && end != payload && end[-1] == '\r') --end;
  if (!append_escaped(out, payload, static_cast<size_t>(end - payload), max_columns)) out += "...";
}

void append_text_record(std::string& out, const ebpf_record& record) {
  append_head(out, record.data);
  const size_t before = out.size();
  append_first_line(out += ' ', ebpf_record_payload(&record), record.data.cap_len);
  if (out.size() == before + 1) out.pop_back();
  out += '\n';
}

void append_hex_record(std::string& out, const ebpf_record& record) {
  append_head(out, record.data);
  out += '\n';
  const uint8_t* payload = ebpf_record_payload(&record);
  for (size_t at = 0; at < record.data.cap_len; at += kHexColumns) {
    append_hex_line(out, payload + at, at, std::min(kHexColumns, record.data.cap_len - at));
  }
}

void append_text_gap(std::string& out, const ebpf_gap& gap) {
  const char* cause = gap_cause_name(gap.cause);
  out += "-- gap: ";
  if (gap.cause == EBPF_GAP_RESTART) {
    out += "the producer is gone, records may be lost";
  } else if (gap.count == 0) {
    out += "records lost, number not known";
  } else {
    out += std::to_string(gap.count) + (gap.count == 1 ? " record lost" : " records lost");
  }
  out += std::string(" (") + cause + ")\n";
}

void append_json_record(std::string& out, const ebpf_record& record) {
  const SK_BPF_DATA& data = record.data;
  const tuple_t& tuple = data.tuple;
  nlohmann::ordered_json object;
  object["process_id"] = data.process_id;
  object["thread_id"] = data.thread_id;
  object["process_name"] = latin1(data.process_name, name_length(data));
  object["raddr"] = address_text(tuple.raddr, tuple.addr_len);
  object["laddr"] = address_text(tuple.laddr, tuple.addr_len);
  object["rport"] = tuple.rport;
  object["lport"] = tuple.lport;
  object["addr_len"] = tuple.addr_len;
  object["protocol"] = tuple.protocol;
  object["socket_id"] = data.socket_id;
  object["l7_protocal_hint"] = data.l7_protocal_hint;
  object["l7_protocol"] = ebpf_protocol_name(data.l7_protocal_hint);
  object["msg_type"] = message_type_name(data.msg_type);
  object["need_reconfirm"] = data.need_reconfirm;
  object["tcp_seq"] = data.tcp_seq;
  object["syscall_trace_id_call"] = data.syscall_trace_id_call;
  object["timestamp"] = data.timestamp;
  object["direction"] = direction_name(data.direction);
  object["syscall_len"] = data.syscall_len;
  object["cap_len"] = data.cap_len;
  object["cap_seq"] = data.cap_seq;
  object["cap_data"] = latin1(ebpf_record_payload(&record), data.cap_len);
  append_json_line(out, object);
}

void append_json_gap(std::string& out, const ebpf_gap& gap, uint32_t lane) {
  nlohmann::ordered_json object;
  object["gap"] = true;
  object["count"] = gap.count;
  object["cause"] = gap_cause_name(gap.cause);
  object["lane"] = lane;
  object["seq"] = gap.seq;
  object["timestamp"] = gap.timestamp_us;
  append_json_line(out, object);
}

}  // namespace ebpf

// SPDX-License-Identifier: Apache-2.0
// How a record and a gap look to people (text) and to programs (JSON). Every view of the
// trace that goes to a terminal is made here, so that nothing captured reaches it raw.
//
// The text format, one line per record, fields separated by one space:
//
//   TIME COMM[PID/TID] LOCAL ARROW REMOTE DIRECTION PROTOCOL KIND sock=N seq=N trace=N len=N/N TEXT
//
//   14:03:07.012345 curl[812/812] 127.0.0.1:40312 -> 127.0.0.1:8080 send HTTP request sock=71
//       seq=0 trace=0 len=78/78 GET /index.html HTTP/1.1            (all of this on one line)
//
//   TIME       data.timestamp as local time (localtime_r), HH:MM:SS.uuuuuu
//   COMM       data.process_name up to its NUL, at most 16 bytes; escaped, and a space as \x20
//   PID/TID    data.process_id, data.thread_id; this and every other number is plain decimal
//   LOCAL      ADDRESS:PORT of laddr, lport; REMOTE the same of raddr, rport
//   ADDRESS    addr_len 4: a.b.c.d; 6: as inet_ntop writes it, in [ ]; anything else: ?
//   ARROW      -> for SOCK_DIR_SND, <- for all else
//   DIRECTION  send for SOCK_DIR_SND, recv for all else
//   PROTOCOL   ebpf_protocol_name(), followed by ? when need_reconfirm is set
//   KIND       request (MSG_REQUEST), response (MSG_RESPONSE), unknown (all else)
//   sock       socket_id      seq  cap_seq      trace  syscall_trace_id_call
//   len        cap_len/syscall_len
//   TEXT       first line of the payload: up to the first \n, without it and without one \r
//              before it; all of the payload where it holds no \n. Escaped, then cut to at most
//              80 characters, never inside an escape, followed by "..." if it was cut. When
//              there is nothing to show, the line ends after len, without a trailing space.
//
// Escaped: 0x20 to 0x7e stand for themselves but for the backslash, which becomes \\; then \t,
// \r, \n; every other byte is \x and two lower-case hexadecimal digits.
//
// A gap is one line too:
//
//   -- gap: 12 records lost (lapped)          -- gap: 1 record lost (perf_full)
//   -- gap: records lost, number not known (corrupt)           count 0, any cause but restart
//   -- gap: the producer is gone, records may be lost (restart)
//
// The causes are lapped, perf_full, no_room, restart, corrupt; any other value: unknown.
//
// The hex format is that line without TEXT, then the payload, 16 bytes to the line:
//
//       0000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..
//
// JSON is one object per line, ASCII only; see append_json_record() and append_json_gap().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "libebpf/consumer.h"

namespace ebpf {

// Appends `count` bytes escaped as above; stops before the text grows past max_columns and
// says whether it had to. escape_space: a space becomes \x20.
bool append_escaped(std::string& out, const uint8_t* bytes, size_t count, size_t max_columns,
                    bool escape_space = false);

// Address text as above, without brackets.
std::string address_text(const uint8_t (&address)[16], uint8_t addr_len);

const char* gap_cause_name(uint32_t cause);
const char* message_type_name(uint8_t msg_type);
const char* direction_name(uint8_t direction);

// Each appends one line with its \n.
void append_text_record(std::string& out, const ebpf_record& record);
void append_hex_record(std::string& out, const ebpf_record& record);  // several lines
void append_text_gap(std::string& out, const ebpf_gap& gap);
// The first line of a payload as TEXT above, with at most max_columns columns.
void append_first_line(std::string& out, const uint8_t* payload, size_t length,
                       size_t max_columns = 80);

// The fields of SK_BPF_DATA under their names, the tuple flattened: process_id, thread_id,
// process_name, raddr, laddr (text), rport, lport, addr_len, protocol (numbers), socket_id,
// l7_protocal_hint (number), l7_protocol (name), msg_type ("request", "response", "unknown"),
// need_reconfirm, tcp_seq, syscall_trace_id_call, timestamp (µs), direction ("send", "recv"),
// syscall_len, cap_len, cap_seq, cap_data. In strings that hold captured bytes each byte is
// the code point of the same value.
void append_json_record(std::string& out, const ebpf_record& record);
// {"gap":true,"count":N,"cause":"lapped","lane":L,"seq":S,"timestamp":T}
void append_json_gap(std::string& out, const ebpf_gap& gap, uint32_t lane);

}  // namespace ebpf

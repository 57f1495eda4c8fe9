// SPDX-License-Identifier: Apache-2.0
//! One JSON object per record or gap, ASCII only, the same, byte for byte, as that of the agent
//! in C++: keys are spelled as the fields of SK_BPF_DATA, the tuple is flattened.

use crate::text;
use libebpf::{Gap, Record};
use std::fmt::Write;

/// Appends one line.
pub fn append_record(out: &mut String, record: &Record<'_>) {
    let data = &record.raw().data;
    let tuple = &data.tuple;
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        r#"{{"process_id":{},"thread_id":{}"#,
        data.process_id, data.thread_id
    );
    append_string(out, "process_name", record.process_name());
    append_string(
        out,
        "raddr",
        text::address(&tuple.raddr, tuple.addr_len).as_bytes(),
    );
    append_string(
        out,
        "laddr",
        text::address(&tuple.laddr, tuple.addr_len).as_bytes(),
    );
    append_number(out, "rport", tuple.rport.into());
    append_number(out, "lport", tuple.lport.into());
    append_number(out, "addr_len", tuple.addr_len.into());
    append_number(out, "protocol", tuple.protocol.into());
    append_number(out, "socket_id", data.socket_id);
    append_number(out, "l7_protocal_hint", data.l7_protocal_hint.into());
    let _ = write!(out, r#","l7_protocol":"{}""#, record.protocol());
    let _ = write!(out, r#","msg_type":"{}""#, record.message_type());
    let _ = write!(out, r#","need_reconfirm":{}"#, record.need_reconfirm());
    append_number(out, "tcp_seq", data.tcp_seq);
    append_number(out, "syscall_trace_id_call", data.syscall_trace_id_call);
    append_number(out, "timestamp", data.timestamp);
    let _ = write!(out, r#","direction":"{}""#, record.direction());
    append_number(out, "syscall_len", data.syscall_len);
    append_number(out, "cap_len", data.cap_len.into());
    append_number(out, "cap_seq", data.cap_seq);
    append_string(out, "cap_data", record.payload());
    out.push_str("}\n");
}

/// Appends one line.
pub fn append_gap(out: &mut String, gap: &Gap) {
    let _ = writeln!(
        out,
        r#"{{"gap":true,"count":{},"cause":"{}","lane":{},"seq":{},"timestamp":{}}}"#,
        gap.count, gap.cause, gap.lane, gap.seq, gap.timestamp_us
    );
}

fn append_number(out: &mut String, key: &str, value: u64) {
    let _ = write!(out, r#","{}":{}"#, key, value);
}

/// Each byte becomes the code point of the same value, so that no byte is lost, and none that is
/// not printable ASCII comes out raw.
fn append_string(out: &mut String, key: &str, bytes: &[u8]) {
    let _ = write!(out, r#","{}":""#, key);
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(byte.into()),
            _ => {
                let _ = write!(out, "\\u{:04x}", byte);
            }
        }
    }
    out.push('"');
}

// SPDX-License-Identifier: Apache-2.0
//! One line of text per record or gap. The format is described in consumer/view/format.h and
//! is the same, byte for byte, as that of the agent in C++.

use crate::os;
use libebpf::{escape, Direction, Gap, GapCause, Record};
use std::fmt::Write;

const TEXT_COLUMNS: usize = 80;

/// Appends one line.
pub fn append_record(out: &mut String, record: &Record<'_>) {
    append_time(out, record.timestamp_us());
    let tuple = &record.raw().data.tuple;
    let arrow = match record.direction() {
        Direction::Send => "->",
        Direction::Receive => "<-",
    };
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        " {}[{}/{}] {}:{} {} {}:{} {} {}{} {} sock={} seq={} trace={} len={}/{}",
        escape(record.process_name())
            .to_string()
            .replace(' ', "\\x20"),
        record.process_id(),
        record.thread_id(),
        bracketed_address(&tuple.laddr, tuple.addr_len),
        tuple.lport,
        arrow,
        bracketed_address(&tuple.raddr, tuple.addr_len),
        tuple.rport,
        record.direction(),
        record.protocol(),
        if record.need_reconfirm() { "?" } else { "" },
        record.message_type(),
        record.socket_id(),
        record.cap_seq(),
        record.trace_id(),
        record.payload().len(),
        record.syscall_len(),
    );
    append_first_line(out, record.payload());
    out.push('\n');
}

/// Appends one line.
pub fn append_gap(out: &mut String, gap: &Gap) {
    let _ = match (gap.cause, gap.count) {
        (GapCause::Restart, _) => {
            write!(out, "-- gap: the producer is gone, records may be lost")
        }
        (_, 0) => write!(out, "-- gap: records lost, number not known"),
        (_, 1) => write!(out, "-- gap: 1 record lost"),
        (_, count) => write!(out, "-- gap: {} records lost", count),
    };
    let _ = writeln!(out, " ({})", gap.cause);
}

/// Address text; "?" where the family is not known.
pub fn address(address: &[u8; 16], addr_len: u8) -> String {
    match addr_len {
        4 => format!(
            "{}.{}.{}.{}",
            address[0], address[1], address[2], address[3]
        ),
        6 => os::ipv6_text(address),
        _ => "?".into(),
    }
}

fn bracketed_address(bytes: &[u8; 16], addr_len: u8) -> String {
    let text = address(bytes, addr_len);
    if addr_len == 6 {
        format!("[{}]", text)
    } else {
        text
    }
}

fn append_time(out: &mut String, timestamp_us: u64) {
    let local = i64::try_from(timestamp_us / 1_000_000)
        .ok()
        .and_then(os::local_time);
    let _ = match local {
        Some((hour, minute, second)) => {
            write!(
                out,
                "{:02}:{:02}:{:02}.{:06}",
                hour,
                minute,
                second,
                timestamp_us % 1_000_000
            )
        }
        None => write!(out, "??:??:??.??????"),
    };
}

fn append_first_line(out: &mut String, payload: &[u8]) {
    let line = match payload.iter().position(|&byte| byte == b'\n') {
        Some(end) => payload[..end]
            .strip_suffix(b"\r")
            .unwrap_or(&payload[..end]),
        None => payload,
    };
    if line.is_empty() {
        return;
    }
    out.push(' ');
    let mut columns = 0;
    for byte in line {
        let shown = escape(std::slice::from_ref(byte)).to_string();
        columns += shown.len();
        if columns > TEXT_COLUMNS {
            out.push_str("...");
            return;
        }
        out.push_str(&shown);
    }
}

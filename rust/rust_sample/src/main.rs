// SPDX-License-Identifier: Apache-2.0
//! The original library's sample: prints every record.
//!
//! `rust_sample [LOG_FILE [8]]`; `8` calls with the argument that only the original's Rust
//! declaration has.

use rust_sample::ebpf::*;
use std::io::Write;

extern "C" fn socket_trace_callback(sd: *mut SK_BPF_DATA) {
    // SAFETY: the record and its payload are valid until this returns.
    let (data, payload) = unsafe {
        let data = &*sd;
        let payload = std::slice::from_raw_parts(data.cap_data as *const u8, data.cap_len as usize);
        (data, payload)
    };
    let name = data.process_name.split(|byte| *byte == 0).next();
    let line = payload.split(|byte| *byte < b' ').next().unwrap_or(&[]);
    // A closed pipe ends the sample's use, not the process that it runs in.
    let _ = writeln!(
        std::io::stdout().lock(),
        "record pid={} tid={} name={} socket={} seq={} protocol={} type={} reconfirm={} \
         direction={} rport={} lport={} syscall_len={} cap_len={} time={} trace={} tcp_seq={} \
         text={}",
        data.process_id,
        data.thread_id,
        name.unwrap_or(&[]).escape_ascii(),
        data.socket_id,
        data.cap_seq,
        data.l7_protocal_hint,
        data.msg_type,
        data.need_reconfirm,
        data.direction,
        { data.tuple.rport },
        { data.tuple.lport },
        data.syscall_len,
        data.cap_len,
        data.timestamp,
        data.syscall_trace_id_call,
        data.tcp_seq,
        line.escape_ascii(),
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let log_file = arguments
        .next()
        .unwrap_or_else(|| "/var/log/libebpf.log".to_owned());
    let with_eight = arguments.next().map_or(false, |count| count == "8");
    let log_file = CString::new(log_file.as_bytes()).unwrap();
    let log_file_c = log_file.as_c_str();
    // SAFETY: the texts outlive the calls, and the callback can be called from any thread.
    unsafe {
        if bpf_tracer_init(log_file_c.as_ptr(), true) != 0 {
            println!("bpf_tracer_init() file:{:?} error", log_file);
            ::std::process::exit(1);
        }
        let running = if with_eight {
            eight::running_socket_tracer(
                socket_trace_callback,
                1,
                128,
                65536,
                524288,
                524288,
                520000,
                log_file_c.as_ptr(),
            )
        } else {
            running_socket_tracer(
                socket_trace_callback,
                1,      // worker threads
                128,    // pages of each CPU's perf buffer
                65536,  // records that the ring holds
                524288, // sockets
                524288, // threads
                520000, // sweep idle sockets from here on
            )
        };
        if running != 0 {
            println!("running_socket_tracer() error.");
            ::std::process::exit(1);
        }
        bpf_tracer_finish();
        while tracer_start() != 0 {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        println!("answer running 0");
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }
}

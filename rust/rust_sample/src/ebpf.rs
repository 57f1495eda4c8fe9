// SPDX-License-Identifier: Apache-2.0
//! The original library's Rust declarations: nothing of the crates `libebpf-sys` and `libebpf`
//! is used. What each field means is told in `libebpf/sock_data.h` and `libebpf/tracer.h`.
#![allow(missing_docs, non_camel_case_types)]

pub use std::ffi::{CStr, CString};
pub use std::os::raw::{c_char, c_int, c_uint};

pub const SOCK_DIR_SND: u8 = 0;
pub const SOCK_DIR_RCV: u8 = 1;
pub const SOCK_DATA_UNKNOWN: u16 = 0;
pub const SOCK_DATA_HTTP1: u16 = 20;
pub const SOCK_DATA_HTTP2: u16 = 21;
pub const SOCK_DATA_MYSQL: u16 = 60;
pub const SOCK_DATA_DNS: u16 = 120;
pub const SOCK_DATA_REDIS: u16 = 80;
pub const SOCK_DATA_KAFKA: u16 = 100;
pub const SOCK_DATA_DUBBO: u16 = 40;
pub const MSG_REQUEST: u8 = 1;
pub const MSG_RESPONSE: u8 = 2;

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tuple_t {
    pub raddr: [u8; 16usize],
    pub laddr: [u8; 16usize],
    pub addr_len: u8,
    pub protocol: u8,
    pub rport: u16,
    pub lport: u16,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct SK_BPF_DATA {
    pub process_id: u32,
    pub thread_id: u32,
    pub process_name: [u8; 16usize],
    pub tuple: tuple_t,
    pub socket_id: u64,
    pub l7_protocal_hint: u16,
    pub msg_type: u8,
    pub need_reconfirm: bool,
    pub tcp_seq: u64,
    pub syscall_trace_id_call: u64,
    pub timestamp: u64,
    pub direction: u8,
    pub syscall_len: u64,
    pub cap_len: u32,
    pub cap_seq: u64,
    pub cap_data: *mut c_char,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct SK_TRACE_STATS {
    pub perf_pages_count: u32,
    pub kern_lost: u64,
    pub kern_socket_map_max: u32,
    pub kern_socket_map_used: u32,
    pub kern_trace_map_max: u32,
    pub kern_trace_map_used: u32,
    pub worker_num: u16,
    pub queue_capacity: u32,
    pub mem_alloc_fail_count: u64,
    pub user_enqueue_count: u64,
    pub user_dequeue_count: u64,
    pub user_enqueue_lost: u64,
    pub queue_burst_count: u64,
    pub socket_map_max_reclaim: u32,
    pub is_adapt_success: bool,
    pub tracer_state: u8,
}

extern "C" {
    pub fn bpf_tracer_init(log_file: *const c_char, is_stdout: bool) -> c_int;
    pub fn bpf_tracer_finish();
    pub fn socket_tracer_stats() -> SK_TRACE_STATS;
    pub fn running_socket_tracer(
        callback: extern "C" fn(sd: *mut SK_BPF_DATA),
        thread_nr: c_int,
        perf_pages_cnt: c_uint,
        ring_size: c_uint,
        max_socket_entries: c_uint,
        max_trace_entries: c_uint,
        socket_map_max_reclaim: c_uint,
    ) -> c_int;
    pub fn tracer_stop() -> c_int;
    pub fn tracer_start() -> c_int;
}

/// The same function under the declaration with an eighth argument.
pub mod eight {
    use super::*;

    #[allow(clashing_extern_declarations)]
    extern "C" {
        pub fn running_socket_tracer(
            callback: extern "C" fn(sd: *mut SK_BPF_DATA),
            thread_nr: c_int,
            perf_pages_cnt: c_uint,
            ring_size: c_uint,
            max_socket_entries: c_uint,
            max_trace_entries: c_uint,
            socket_map_max_reclaim: c_uint,
            log_file: *const c_char,
        ) -> c_int;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    #[test]
    fn structs_have_the_sizes_of_the_library() {
        assert_eq!(size_of::<tuple_t>(), 38);
        assert_eq!(size_of::<SK_BPF_DATA>(), 144);
        assert_eq!(size_of::<SK_TRACE_STATS>(), 88);
    }
}

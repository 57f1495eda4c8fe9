// SPDX-License-Identifier: Apache-2.0
//! Every size, offset and constant of the bindings against `layout.txt`. `layout.c` holds the
//! headers against the same file, so that neither side can drift alone.

use libebpf_sys::*;
use std::fmt::Write;
use std::mem::{size_of, MaybeUninit};
use std::ptr::addr_of;

macro_rules! describe_struct {
    ($out:ident, $type:ident, $($field:ident)*) => {
        writeln!($out, "{} {}", stringify!($type), size_of::<$type>()).unwrap();
        $(
            let value = MaybeUninit::<$type>::uninit();
            let base = value.as_ptr();
            // SAFETY: only the address of the field is formed, nothing is read.
            let offset = unsafe { addr_of!((*base).$field) } as usize - base as usize;
            writeln!($out, "{}.{} {}", stringify!($type), stringify!($field), offset).unwrap();
        )*
    };
}

macro_rules! describe_constants {
    ($out:ident, $($name:ident)*) => {
        $( writeln!($out, "{} {}", stringify!($name), $name).unwrap(); )*
    };
}

#[test]
fn bindings_have_the_layout_of_the_headers() {
    let mut out = String::new();
    describe_struct!(out, tuple_t, raddr laddr addr_len protocol rport lport);
    describe_struct!(out, SK_BPF_DATA, process_id thread_id process_name tuple socket_id
        l7_protocal_hint msg_type need_reconfirm tcp_seq syscall_trace_id_call timestamp direction
        syscall_len cap_len cap_seq cap_data);
    describe_struct!(out, ebpf_record, length_bytes kind reserved seq data);
    describe_struct!(out, ebpf_gap, length_bytes kind reserved seq count timestamp_us cause
        reserved2);
    describe_struct!(out, ebpf_filter, size protocols directions msg_types process_count
        process_ids ports port_count reserved);
    describe_struct!(out, ebpf_position, epoch seq segment offset lane);
    describe_struct!(out, ebpf_consumer_options, size socket_path lanes from flags spin_us reserved
        name on_record on_gap user filter positions position_count);
    describe_struct!(out, ebpf_consumer_stats, size epoch published delivered filtered lost unread
        upstream_lost gaps sleeps reattaches lane_count consumer_id last_end last_end_errno);
    describe_constants!(out, SOCK_DIR_SND SOCK_DIR_RCV SOCK_DATA_UNKNOWN SOCK_DATA_HTTP1
        SOCK_DATA_HTTP2 SOCK_DATA_DUBBO SOCK_DATA_MYSQL SOCK_DATA_REDIS SOCK_DATA_KAFKA
        SOCK_DATA_DNS MSG_UNKNOWN MSG_REQUEST MSG_RESPONSE EBPF_COMM_BYTES EBPF_CAP_BYTES_MAX
        EBPF_LANES_MAX EBPF_RECORD_DATA EBPF_RECORD_GAP EBPF_GAP_LAPPED EBPF_GAP_PERF_FULL
        EBPF_GAP_NO_ROOM EBPF_GAP_RESTART EBPF_GAP_CORRUPT EBPF_FROM_TAIL EBPF_FROM_OLDEST
        EBPF_FROM_RESUME EBPF_FILTER_UNKNOWN EBPF_FILTER_HTTP1 EBPF_FILTER_HTTP2
        EBPF_FILTER_DUBBO EBPF_FILTER_MYSQL EBPF_FILTER_REDIS EBPF_FILTER_KAFKA
        EBPF_FILTER_DNS EBPF_FILTER_SND EBPF_FILTER_RCV EBPF_FILTER_NO_TYPE
        EBPF_FILTER_REQUEST EBPF_FILTER_RESPONSE EBPF_FILTER_LIST_MAX EBPF_END_NONE
        EBPF_END_ORDERLY EBPF_END_HUNG_UP EBPF_END_DETACHED
        EBPF_NO_REATTACH);
    describe_struct!(out, SK_TRACE_STATS, perf_pages_count kern_lost kern_socket_map_max
        kern_socket_map_used kern_trace_map_max kern_trace_map_used worker_num queue_capacity
        mem_alloc_fail_count user_enqueue_count user_dequeue_count user_enqueue_lost
        queue_burst_count socket_map_max_reclaim is_adapt_success tracer_state);
    describe_constants!(out, TRACER_INIT TRACER_STOP TRACER_RUNNING);
    assert_eq!(out, include_str!("layout.txt"));
}

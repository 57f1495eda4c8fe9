// SPDX-License-Identifier: Apache-2.0
//! Bindings of libebpf's consumer C ABI: `libebpf/consumer.h`, with the records of
//! `libebpf/ring_layout.h` and `libebpf/sock_data.h`; and the original API, `libebpf/tracer.h`,
//! under the original names. The headers are the documentation; names
//! and layouts are theirs. `tests/layout.txt` pins every size, offset and constant, and is
//! checked against both this file and the headers.
//!
//! Most programs want the safe crate `libebpf` instead.
#![no_std]
#![deny(missing_docs)]
#![allow(non_camel_case_types)]

use core::ffi::c_void;

/// C's `int`.
pub type c_int = i32;

/// C's `char`, which has no sign on some architectures.
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv64",
    target_arch = "s390x"
))]
pub type c_char = u8;
/// C's `char`, which has no sign on some architectures.
#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv64",
    target_arch = "s390x"
)))]
pub type c_char = i8;

/// `SK_BPF_DATA.direction`: the process sent.
pub const SOCK_DIR_SND: u8 = 0;
/// `SK_BPF_DATA.direction`: the process received.
pub const SOCK_DIR_RCV: u8 = 1;

/// `SK_BPF_DATA.l7_protocal_hint`: none of the known protocols.
pub const SOCK_DATA_UNKNOWN: u16 = 0;
/// `SK_BPF_DATA.l7_protocal_hint`: HTTP/1.
pub const SOCK_DATA_HTTP1: u16 = 20;
/// `SK_BPF_DATA.l7_protocal_hint`: HTTP/2.
pub const SOCK_DATA_HTTP2: u16 = 21;
/// `SK_BPF_DATA.l7_protocal_hint`: Dubbo.
pub const SOCK_DATA_DUBBO: u16 = 40;
/// `SK_BPF_DATA.l7_protocal_hint`: MySQL.
pub const SOCK_DATA_MYSQL: u16 = 60;
/// `SK_BPF_DATA.l7_protocal_hint`: Redis.
pub const SOCK_DATA_REDIS: u16 = 80;
/// `SK_BPF_DATA.l7_protocal_hint`: Kafka.
pub const SOCK_DATA_KAFKA: u16 = 100;
/// `SK_BPF_DATA.l7_protocal_hint`: DNS.
pub const SOCK_DATA_DNS: u16 = 120;

/// `SK_BPF_DATA.msg_type`: not known, e.g. the rest of a long body.
pub const MSG_UNKNOWN: u8 = 0;
/// `SK_BPF_DATA.msg_type`: a request.
pub const MSG_REQUEST: u8 = 1;
/// `SK_BPF_DATA.msg_type`: a response.
pub const MSG_RESPONSE: u8 = 2;

/// `SK_TRACE_STATS.tracer_state`: not adapted to the kernel.
pub const TRACER_INIT: u8 = 0;
/// `SK_TRACE_STATS.tracer_state`: ready, nothing is captured.
pub const TRACER_STOP: u8 = 1;
/// `SK_TRACE_STATS.tracer_state`: records flow.
pub const TRACER_RUNNING: u8 = 2;

/// Bytes of a process name, NUL included.
pub const EBPF_COMM_BYTES: usize = 16;
/// Upper bound of the producer's capture limit.
pub const EBPF_CAP_BYTES_MAX: u32 = 16384;
/// Upper bound of the number of lanes.
pub const EBPF_LANES_MAX: u32 = 64;

/// `ebpf_record.kind`: `data` and its payload are valid.
pub const EBPF_RECORD_DATA: u16 = 1;
/// `ebpf_record.kind`: a notice that events were lost before this point.
pub const EBPF_RECORD_GAP: u16 = 2;

/// `ebpf_gap.cause`: this consumer was too slow, the ring went round it.
pub const EBPF_GAP_LAPPED: u32 = 1;
/// `ebpf_gap.cause`: the kernel's perf buffer was full.
pub const EBPF_GAP_PERF_FULL: u32 = 2;
/// `ebpf_gap.cause`: the producer found no room in the ring.
pub const EBPF_GAP_NO_ROOM: u32 = 3;
/// `ebpf_gap.cause`: the producer is gone; what follows is of another epoch.
pub const EBPF_GAP_RESTART: u32 = 4;
/// `ebpf_gap.cause`: a record that could not be valid was skipped.
pub const EBPF_GAP_CORRUPT: u32 = 5;

/// `ebpf_consumer_options.from`: only what is published from now on.
pub const EBPF_FROM_TAIL: u32 = 0;
/// `ebpf_consumer_options.from`: also what the ring still holds.
pub const EBPF_FROM_OLDEST: u32 = 1;

/// `ebpf_consumer_options.from`: where `positions` say that an earlier consumer stood.
pub const EBPF_FROM_RESUME: u32 = 2;
/// `ebpf_filter.protocols`: none of the known protocols.
pub const EBPF_FILTER_UNKNOWN: u32 = 1;
/// `ebpf_filter.protocols`: HTTP/1.
pub const EBPF_FILTER_HTTP1: u32 = 2;
/// `ebpf_filter.protocols`: HTTP/2.
pub const EBPF_FILTER_HTTP2: u32 = 4;
/// `ebpf_filter.protocols`: Dubbo.
pub const EBPF_FILTER_DUBBO: u32 = 8;
/// `ebpf_filter.protocols`: MySQL.
pub const EBPF_FILTER_MYSQL: u32 = 16;
/// `ebpf_filter.protocols`: Redis.
pub const EBPF_FILTER_REDIS: u32 = 32;
/// `ebpf_filter.protocols`: Kafka.
pub const EBPF_FILTER_KAFKA: u32 = 64;
/// `ebpf_filter.protocols`: DNS.
pub const EBPF_FILTER_DNS: u32 = 128;
/// `ebpf_filter.directions`: what was sent.
pub const EBPF_FILTER_SND: u32 = 1;
/// `ebpf_filter.directions`: what was received.
pub const EBPF_FILTER_RCV: u32 = 2;
/// `ebpf_filter.msg_types`: neither request nor response.
pub const EBPF_FILTER_NO_TYPE: u32 = 1;
/// `ebpf_filter.msg_types`: requests.
pub const EBPF_FILTER_REQUEST: u32 = 2;
/// `ebpf_filter.msg_types`: responses.
pub const EBPF_FILTER_RESPONSE: u32 = 4;
/// Entries that a list of `ebpf_filter` has at most.
pub const EBPF_FILTER_LIST_MAX: u32 = 65536;
/// `ebpf_consumer_stats.last_end`: no attachment has ended so far.
pub const EBPF_END_NONE: u32 = 0;
/// `ebpf_consumer_stats.last_end`: the producer marked the ring as ended.
pub const EBPF_END_ORDERLY: u32 = 1;
/// `ebpf_consumer_stats.last_end`: the connection was lost.
pub const EBPF_END_HUNG_UP: u32 = 2;
/// `ebpf_consumer_stats.last_end`: the producer detached this consumer.
pub const EBPF_END_DETACHED: u32 = 3;

/// `ebpf_consumer_options.flags`: the end of the producer ends the stream.
pub const EBPF_NO_REATTACH: u32 = 1;

/// The socket's five-tuple, seen from the traced process.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tuple_t {
    /// Remote address, network byte order; IPv4 fills the first 4 bytes.
    pub raddr: [u8; 16],
    /// Local address, same form.
    pub laddr: [u8; 16],
    /// 4: IPv4, 6: IPv6.
    pub addr_len: u8,
    /// IPPROTO_TCP 6 or IPPROTO_UDP 17.
    pub protocol: u8,
    /// Remote port, host byte order.
    pub rport: u16,
    /// Local port, host byte order.
    pub lport: u16,
}

/// One socket read or write.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SK_BPF_DATA {
    /// tgid, in the initial pid namespace.
    pub process_id: u32,
    /// tid, in the initial pid namespace.
    pub thread_id: u32,
    /// comm of the thread, NUL-terminated.
    pub process_name: [u8; EBPF_COMM_BYTES],
    /// The socket's five-tuple.
    pub tuple: tuple_t,
    /// Names a socket, not a descriptor; unique, never reused.
    pub socket_id: u64,
    /// `SOCK_DATA_*`.
    pub l7_protocal_hint: u16,
    /// `MSG_*`.
    pub msg_type: u8,
    /// C's `bool`, here a byte: any value that another process may have left is valid.
    pub need_reconfirm: u8,
    /// TCP sequence number of the first payload byte; UDP: 0.
    pub tcp_seq: u64,
    /// Trace id; 0: none.
    pub syscall_trace_id_call: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// `SOCK_DIR_*`.
    pub direction: u8,
    /// Bytes that the system call moved.
    pub syscall_len: u64,
    /// Bytes of payload captured.
    pub cap_len: u32,
    /// Number of this record within its socket.
    pub cap_seq: u64,
    /// 0 in the ring: the payload follows the record.
    pub cap_data: *mut c_char,
}

/// A data record as it stands in shared memory; `data.cap_len` payload bytes follow it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ebpf_record {
    /// Header and payload, rounded up.
    pub length_bytes: u32,
    /// `EBPF_RECORD_DATA`.
    pub kind: u16,
    /// 0.
    pub reserved: u16,
    /// Number of the record within its lane.
    pub seq: u64,
    /// What was captured.
    pub data: SK_BPF_DATA,
}

/// A notice that the stream has a hole.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ebpf_gap {
    /// Size of this notice.
    pub length_bytes: u32,
    /// `EBPF_RECORD_GAP`.
    pub kind: u16,
    /// 0.
    pub reserved: u16,
    /// Number of the data record that follows.
    pub seq: u64,
    /// Events lost; 0: the number cannot be known.
    pub count: u64,
    /// When the loss was noticed, microseconds since 1970.
    pub timestamp_us: u64,
    /// `EBPF_GAP_*`.
    pub cause: u32,
    /// 0.
    pub reserved2: u32,
}

/// Opaque handle of one attachment.
#[repr(C)]
pub struct ebpf_consumer {
    _opaque: [u8; 0],
}

/// Called for every record. Must not unwind.
pub type ebpf_record_fn =
    unsafe extern "C" fn(record: *const ebpf_record, lane: u32, user: *mut c_void) -> c_int;

/// Called for every gap. Must not unwind.
pub type ebpf_gap_fn = unsafe extern "C" fn(gap: *const ebpf_gap, lane: u32, user: *mut c_void);

/// What a consumer wants to see.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ebpf_filter {
    /// Size of this struct.
    pub size: usize,
    /// `EBPF_FILTER_HTTP1 | ...`; 0: all.
    pub protocols: u32,
    /// `EBPF_FILTER_SND | EBPF_FILTER_RCV`; 0: both.
    pub directions: u32,
    /// `EBPF_FILTER_REQUEST | ...`; 0: all.
    pub msg_types: u32,
    /// Of `process_ids`; 0: all.
    pub process_count: u32,
    /// A record's process id must be one of them.
    pub process_ids: *const u32,
    /// A record's remote or local port must be one of them.
    pub ports: *const u16,
    /// Of `ports`; 0: all.
    pub port_count: u32,
    /// 0.
    pub reserved: u32,
}

/// Where a consumer stands in a lane.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ebpf_position {
    /// Of the producer.
    pub epoch: u64,
    /// Of the data record that comes next.
    pub seq: u64,
    /// Segment of the lane.
    pub segment: u64,
    /// Bytes into the segment.
    pub offset: u32,
    /// Number of the lane.
    pub lane: u32,
}

/// What to attach to, and how.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ebpf_consumer_options {
    /// Size of this struct.
    pub size: usize,
    /// Null: `$EBPF_SOCKET`, else the default.
    pub socket_path: *const c_char,
    /// Bit mask of the lanes to read; 0: all.
    pub lanes: u64,
    /// `EBPF_FROM_*`.
    pub from: u32,
    /// `EBPF_NO_REATTACH`.
    pub flags: u32,
    /// How long a blocking poll spins before it sleeps.
    pub spin_us: u32,
    /// 0.
    pub reserved: u32,
    /// Shown to the operator, at most 15 bytes; null: the process name.
    pub name: *const c_char,
    /// Must not be `None`.
    pub on_record: Option<ebpf_record_fn>,
    /// May be `None`.
    pub on_gap: Option<ebpf_gap_fn>,
    /// Handed to the callbacks.
    pub user: *mut c_void,
    /// Null: every record.
    pub filter: *const ebpf_filter,
    /// `EBPF_FROM_RESUME`, else null.
    pub positions: *const ebpf_position,
    /// Of `positions`.
    pub position_count: usize,
}

/// Where a consumer stands.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ebpf_consumer_stats {
    /// In: size of this struct; out: bytes filled.
    pub size: usize,
    /// Of the producer that it reads; 0: none at present.
    pub epoch: u64,
    /// Data records published since it joined.
    pub published: u64,
    /// Handed to `on_record`.
    pub delivered: u64,
    /// Skipped by a filter.
    pub filtered: u64,
    /// Lapped, or unreadable.
    pub lost: u64,
    /// Still to come.
    pub unread: u64,
    /// Lost before the ring, told by gap notices.
    pub upstream_lost: u64,
    /// Gap callbacks.
    pub gaps: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Producers that it found again.
    pub reattaches: u64,
    /// Lanes that it reads.
    pub lane_count: u32,
    /// Its id at the producer; 0: not attached.
    pub consumer_id: u32,
    /// `EBPF_END_*`: why the last attachment ended.
    pub last_end: u32,
    /// `EBPF_END_DETACHED`: the producer's reason.
    pub last_end_errno: u32,
}

extern "C" {
    /// Attach to a producer. 0, or a negative errno value.
    ///
    /// # Safety
    /// Both pointers are valid; what `options` points at outlives the call, `user` the handle.
    pub fn ebpf_consumer_open(
        consumer: *mut *mut ebpf_consumer,
        options: *const ebpf_consumer_options,
    ) -> c_int;

    /// Detach and free. Null is allowed.
    ///
    /// # Safety
    /// A handle from `ebpf_consumer_open`, not used afterwards, and not from a callback of its.
    pub fn ebpf_consumer_close(consumer: *mut ebpf_consumer);

    /// Deliver what is there. A count, or a negative errno value.
    ///
    /// # Safety
    /// A live handle that no other thread uses at the same time.
    pub fn ebpf_consumer_poll(consumer: *mut ebpf_consumer, timeout_ms: c_int) -> c_int;

    /// The descriptor for an event loop, owned by the handle.
    ///
    /// # Safety
    /// A live handle.
    pub fn ebpf_consumer_fd(consumer: *const ebpf_consumer) -> c_int;

    /// Fill up to `capacity` positions. The number of lanes, or a negative errno value.
    ///
    /// # Safety
    /// A live handle, on the thread that polls; room for `capacity` positions.
    pub fn ebpf_consumer_positions(
        consumer: *const ebpf_consumer,
        positions: *mut ebpf_position,
        capacity: usize,
    ) -> c_int;

    /// Fill `*stats`. 0, or a negative errno value.
    ///
    /// # Safety
    /// A live handle, on the thread that polls; `stats` has the size that it says.
    pub fn ebpf_consumer_stats(
        consumer: *const ebpf_consumer,
        stats: *mut ebpf_consumer_stats,
    ) -> c_int;

    /// What the last failing call on this thread ran into.
    ///
    /// # Safety
    /// The text is valid until the thread's next call.
    pub fn ebpf_last_error() -> *const c_char;

    /// Version of the library that is linked.
    ///
    /// # Safety
    /// None needed: the text is static.
    pub fn ebpf_version() -> *const c_char;
}

/// Where the tracer of the original API stands. Counters only grow.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SK_TRACE_STATS {
    /// Pages of each CPU's perf buffer.
    pub perf_pages_count: u32,
    /// Records lost because a perf buffer was full.
    pub kern_lost: u64,
    /// Sockets that can be followed at once.
    pub kern_socket_map_max: u32,
    /// Sockets followed now.
    pub kern_socket_map_used: u32,
    /// Threads that can be followed at once.
    pub kern_trace_map_max: u32,
    /// Threads followed now.
    pub kern_trace_map_used: u32,
    /// Threads that call back.
    pub worker_num: u16,
    /// Records that a lane of the ring holds at least.
    pub queue_capacity: u32,
    /// Times that memory was short.
    pub mem_alloc_fail_count: u64,
    /// Records put into the queues for this program.
    pub user_enqueue_count: u64,
    /// Records handed to the callback.
    pub user_dequeue_count: u64,
    /// Records that this program was too slow for.
    pub user_enqueue_lost: u64,
    /// Whole bursts (16 records) put into the ring.
    pub queue_burst_count: u64,
    /// Followed sockets from which on idle ones are swept.
    pub socket_map_max_reclaim: u32,
    /// Adapted to the kernel, or attached to a producer that is.
    pub is_adapt_success: bool,
    /// `TRACER_*`.
    pub tracer_state: u8,
}

extern "C" {
    /// Says where the log goes; once, first. 0, or something else.
    ///
    /// # Safety
    /// `log_file` is null or NUL-terminated.
    pub fn bpf_tracer_init(log_file: *const c_char, is_stdout: bool) -> c_int;

    /// Says that every tracer has been started.
    ///
    /// # Safety
    /// None needed.
    pub fn bpf_tracer_finish();

    /// Where the tracer stands.
    ///
    /// # Safety
    /// None needed.
    pub fn socket_tracer_stats() -> SK_TRACE_STATS;

    /// Attach to the running producer, or become one; stopped afterwards. 0, or something else.
    /// A declaration with an eighth argument, `log_file`, as the original's Rust binding has it,
    /// calls the same function, which does not look at it.
    ///
    /// # Safety
    /// `callback` can be called from other threads for the rest of the program, and does not
    /// unwind.
    pub fn running_socket_tracer(
        callback: Option<unsafe extern "C" fn(sd: *mut SK_BPF_DATA)>,
        thread_nr: c_int,
        perf_pages_cnt: u32,
        ring_size: u32,
        max_socket_entries: u32,
        max_trace_entries: u32,
        socket_map_max_reclaim: u32,
    ) -> c_int;

    /// Records flow from now on. 0, or something else.
    ///
    /// # Safety
    /// None needed.
    pub fn tracer_start() -> c_int;

    /// No more records. 0, or something else.
    ///
    /// # Safety
    /// None needed.
    pub fn tracer_stop() -> c_int;
}

/// Payload of a data record: `data.cap_len` bytes, lifetime as the record's.
///
/// # Safety
/// `record` points at a record in the ring, inside its callback.
pub unsafe fn ebpf_record_payload(record: *const ebpf_record) -> *const u8 {
    record.add(1).cast()
}

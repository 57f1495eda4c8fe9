// SPDX-License-Identifier: Apache-2.0
//! What a consumer is handed: records that lie in the ring, and gaps.

use libebpf_sys as sys;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One thing that the stream tells.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A socket read or write.
    Record(Record<'a>),
    /// The stream has a hole between the records before and after this.
    Gap(Gap),
}

/// A socket read or write of a traced process. It lies in the shared ring and is gone when the
/// closure that got it returns; what is to be kept has to be copied:
///
/// ```compile_fail
/// # let mut consumer = libebpf::Consumer::builder().open().unwrap();
/// let mut kept = Vec::new();
/// consumer.for_each(|event| if let libebpf::Event::Record(record) = event { kept.push(record) });
/// ```
#[derive(Clone, Copy)]
pub struct Record<'a> {
    // A pointer and not a reference: the payload lies behind what a reference would cover.
    raw: *const sys::ebpf_record,
    lane: u32,
    lifetime: PhantomData<&'a sys::ebpf_record>,
}

impl<'a> Record<'a> {
    /// # Safety
    /// `raw` points at a record whose payload of `data.cap_len` bytes follows it, and both stay
    /// readable and unchanged for `'a`.
    pub(crate) unsafe fn new(raw: *const sys::ebpf_record, lane: u32) -> Record<'a> {
        Record {
            raw,
            lane,
            lifetime: PhantomData,
        }
    }

    /// The record's header as it stands in the ring.
    pub fn raw(&self) -> &'a sys::ebpf_record {
        // SAFETY: what new() was promised.
        unsafe { &*self.raw }
    }

    fn data(&self) -> &'a sys::SK_BPF_DATA {
        &self.raw().data
    }

    /// The captured bytes, `min(syscall_len, capture limit)` of them.
    pub fn payload(&self) -> &'a [u8] {
        let length = self.data().cap_len as usize;
        // SAFETY: what new() was promised.
        unsafe { std::slice::from_raw_parts(sys::ebpf_record_payload(self.raw), length) }
    }

    /// The lane that it came on. All records of a socket come on one lane, in order.
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Its number within the lane.
    pub fn seq(&self) -> u64 {
        self.raw().seq
    }

    /// Process id (tgid), in the initial pid namespace.
    pub fn process_id(&self) -> u32 {
        self.data().process_id
    }

    /// Thread id, in the initial pid namespace.
    pub fn thread_id(&self) -> u32 {
        self.data().thread_id
    }

    /// Name of the thread (comm) as the kernel has it. Any bytes may stand in it: show it
    /// through [`escape`](crate::escape()).
    pub fn process_name(&self) -> &'a [u8] {
        data::process_name(self.data())
    }

    /// The local address and port; `None` if the address family is not known.
    pub fn local(&self) -> Option<SocketAddr> {
        data::local(self.data())
    }

    /// The remote address and port; all zero where a UDP socket has no peer.
    pub fn remote(&self) -> Option<SocketAddr> {
        data::remote(self.data())
    }

    /// 6 for TCP, 17 for UDP.
    pub fn ip_protocol(&self) -> u8 {
        self.data().tuple.protocol
    }

    /// Names the socket, not a descriptor; never reused.
    pub fn socket_id(&self) -> u64 {
        self.data().socket_id
    }

    /// The application protocol.
    pub fn protocol(&self) -> Protocol {
        data::protocol(self.data())
    }

    /// The protocol is only likely.
    pub fn need_reconfirm(&self) -> bool {
        self.data().need_reconfirm != 0
    }

    /// Request, response, or not known.
    pub fn message_type(&self) -> MessageType {
        data::message_type(self.data())
    }

    /// Whether the process sent or received.
    pub fn direction(&self) -> Direction {
        data::direction(self.data())
    }

    /// TCP sequence number of the first payload byte; 0 for UDP.
    pub fn tcp_seq(&self) -> u64 {
        self.data().tcp_seq
    }

    /// Ties what a thread sends to what it received before; 0: none.
    pub fn trace_id(&self) -> u64 {
        self.data().syscall_trace_id_call
    }

    /// When the system call ended, in microseconds since 1970-01-01 UTC.
    pub fn timestamp_us(&self) -> u64 {
        self.data().timestamp
    }

    /// When the system call ended.
    pub fn timestamp(&self) -> SystemTime {
        data::timestamp(self.data())
    }

    /// Bytes that the system call moved; the payload may be the first part of them.
    pub fn syscall_len(&self) -> u64 {
        self.data().syscall_len
    }

    /// Number of this record within its socket, from 0.
    pub fn cap_seq(&self) -> u64 {
        self.data().cap_seq
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("lane", &self.lane)
            .field("seq", &self.seq())
            .field("process_id", &self.process_id())
            .field("socket_id", &self.socket_id())
            .field("cap_seq", &self.cap_seq())
            .field("protocol", &self.protocol())
            .field("direction", &self.direction())
            .field("message_type", &self.message_type())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// What a header says, for the records of both APIs.
pub(crate) mod data {
    use super::*;

    pub(crate) fn process_name(data: &sys::SK_BPF_DATA) -> &[u8] {
        let name = &data.process_name;
        let length = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        &name[..length]
    }

    pub(crate) fn local(data: &sys::SK_BPF_DATA) -> Option<SocketAddr> {
        let tuple = &data.tuple;
        socket_addr(&tuple.laddr, tuple.addr_len, tuple.lport)
    }

    pub(crate) fn remote(data: &sys::SK_BPF_DATA) -> Option<SocketAddr> {
        let tuple = &data.tuple;
        socket_addr(&tuple.raddr, tuple.addr_len, tuple.rport)
    }

    fn socket_addr(address: &[u8; 16], addr_len: u8, port: u16) -> Option<SocketAddr> {
        let ip: IpAddr = match addr_len {
            4 => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
            6 => Ipv6Addr::from(*address).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    pub(crate) fn protocol(data: &sys::SK_BPF_DATA) -> Protocol {
        Protocol::from_hint(data.l7_protocal_hint)
    }

    pub(crate) fn message_type(data: &sys::SK_BPF_DATA) -> MessageType {
        match data.msg_type {
            sys::MSG_REQUEST => MessageType::Request,
            sys::MSG_RESPONSE => MessageType::Response,
            _ => MessageType::Unknown,
        }
    }

    pub(crate) fn direction(data: &sys::SK_BPF_DATA) -> Direction {
        match data.direction {
            sys::SOCK_DIR_SND => Direction::Send,
            _ => Direction::Receive,
        }
    }

    pub(crate) fn timestamp(data: &sys::SK_BPF_DATA) -> SystemTime {
        // The sum cannot overflow: 2^64 microseconds are 584,542 years.
        UNIX_EPOCH + Duration::from_micros(data.timestamp)
    }
}

/// Whether the traced process sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It sent (egress).
    Send,
    /// It received (ingress).
    Receive,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::Send => "send",
            Direction::Receive => "recv",
        })
    }
}

/// What a message is to its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Not known, e.g. the rest of a long body.
    Unknown,
    /// A request.
    Request,
    /// A response.
    Response,
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MessageType::Unknown => "unknown",
            MessageType::Request => "request",
            MessageType::Response => "response",
        })
    }
}

/// The application protocol of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// None that this version knows, with the number that the record has.
    Unknown(u16),
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Dubbo.
    Dubbo,
    /// MySQL.
    MySql,
    /// Redis.
    Redis,
    /// Kafka.
    Kafka,
    /// DNS.
    Dns,
}

impl Protocol {
    fn from_hint(hint: u16) -> Protocol {
        match hint {
            sys::SOCK_DATA_HTTP1 => Protocol::Http1,
            sys::SOCK_DATA_HTTP2 => Protocol::Http2,
            sys::SOCK_DATA_DUBBO => Protocol::Dubbo,
            sys::SOCK_DATA_MYSQL => Protocol::MySql,
            sys::SOCK_DATA_REDIS => Protocol::Redis,
            sys::SOCK_DATA_KAFKA => Protocol::Kafka,
            sys::SOCK_DATA_DNS => Protocol::Dns,
            other => Protocol::Unknown(other),
        }
    }

    /// The name as every tool of the project spells it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Unknown(_) => "Unknown",
            Protocol::Http1 => "HTTP",
            Protocol::Http2 => "HTTP2",
            Protocol::Dubbo => "Dubbo",
            Protocol::MySql => "MySQL",
            Protocol::Redis => "Redis",
            Protocol::Kafka => "Kafka",
            Protocol::Dns => "DNS",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A hole in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why. For [`GapCause::Lapped`] and [`GapCause::Corrupt`] the count is this consumer's own
    /// loss, for the others it is everybody's.
    pub cause: GapCause,
    /// Records lost; 0: the number cannot be known.
    pub count: u64,
    /// The lane that has the hole.
    pub lane: u32,
    /// Number of the data record that follows.
    pub seq: u64,
    /// When the loss was noticed, in microseconds since 1970-01-01 UTC.
    pub timestamp_us: u64,
}

impl Gap {
    pub(crate) fn new(raw: &sys::ebpf_gap, lane: u32) -> Gap {
        Gap {
            cause: GapCause::from_raw(raw.cause),
            count: raw.count,
            lane,
            seq: raw.seq,
            timestamp_us: raw.timestamp_us,
        }
    }
}

/// Why a stream has a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// This consumer was too slow: the ring went round it.
    Lapped,
    /// The kernel's perf buffer was full.
    PerfFull,
    /// The producer found no room in the ring.
    NoRoom,
    /// The producer is gone. What follows is of another one: socket and trace ids and sequence
    /// numbers start anew.
    Restart,
    /// A record that could not be valid was skipped with its segment.
    Corrupt,
    /// None that this version knows.
    Unknown(u32),
}

impl GapCause {
    fn from_raw(cause: u32) -> GapCause {
        match cause {
            sys::EBPF_GAP_LAPPED => GapCause::Lapped,
            sys::EBPF_GAP_PERF_FULL => GapCause::PerfFull,
            sys::EBPF_GAP_NO_ROOM => GapCause::NoRoom,
            sys::EBPF_GAP_RESTART => GapCause::Restart,
            sys::EBPF_GAP_CORRUPT => GapCause::Corrupt,
            other => GapCause::Unknown(other),
        }
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            GapCause::Lapped => "lapped",
            GapCause::PerfFull => "perf_full",
            GapCause::NoRoom => "no_room",
            GapCause::Restart => "restart",
            GapCause::Corrupt => "corrupt",
            GapCause::Unknown(_) => "unknown",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record with its payload behind it, as in the ring.
    #[repr(C)]
    pub(crate) struct Sample {
        pub(crate) record: sys::ebpf_record,
        pub(crate) payload: [u8; 16],
    }

    pub(crate) fn sample() -> Sample {
        let mut raddr = [0; 16];
        raddr[..4].copy_from_slice(&[10, 0, 0, 1]);
        let mut laddr = [0; 16];
        laddr[..4].copy_from_slice(&[127, 0, 0, 1]);
        Sample {
            record: sys::ebpf_record {
                length_bytes: 176,
                kind: sys::EBPF_RECORD_DATA,
                reserved: 0,
                seq: 9,
                data: sys::SK_BPF_DATA {
                    process_id: 1,
                    thread_id: 2,
                    process_name: *b"nginx\0garbage!!!",
                    tuple: sys::tuple_t {
                        raddr,
                        laddr,
                        addr_len: 4,
                        protocol: 6,
                        rport: 80,
                        lport: 4321,
                    },
                    socket_id: 3,
                    l7_protocal_hint: sys::SOCK_DATA_HTTP1,
                    msg_type: sys::MSG_REQUEST,
                    need_reconfirm: 1,
                    tcp_seq: 4,
                    syscall_trace_id_call: 5,
                    timestamp: 1_500_000,
                    direction: sys::SOCK_DIR_RCV,
                    syscall_len: 20,
                    cap_len: 16,
                    cap_seq: 6,
                    cap_data: std::ptr::null_mut(),
                },
            },
            payload: *b"GET / HTTP/1.1\r\n",
        }
    }

    pub(crate) fn as_record(sample: &Sample) -> Record<'_> {
        let raw = sample as *const Sample as *const sys::ebpf_record;
        // SAFETY: the payload follows the record in the sample.
        unsafe { Record::new(raw, 7) }
    }

    #[test]
    fn accessors_tell_what_the_header_says() {
        let sample = sample();
        let record = as_record(&sample);
        assert_eq!(record.payload(), b"GET / HTTP/1.1\r\n");
        assert_eq!((record.lane(), record.seq()), (7, 9));
        assert_eq!((record.process_id(), record.thread_id()), (1, 2));
        assert_eq!(record.process_name(), b"nginx");
        assert_eq!(record.local().unwrap().to_string(), "127.0.0.1:4321");
        assert_eq!(record.remote().unwrap().to_string(), "10.0.0.1:80");
        assert_eq!((record.ip_protocol(), record.socket_id()), (6, 3));
        assert_eq!(record.protocol(), Protocol::Http1);
        assert_eq!(record.message_type(), MessageType::Request);
        assert_eq!(record.direction(), Direction::Receive);
        assert!(record.need_reconfirm());
        assert_eq!((record.tcp_seq(), record.trace_id()), (4, 5));
        assert_eq!(record.timestamp(), UNIX_EPOCH + Duration::from_millis(1500));
        assert_eq!((record.syscall_len(), record.cap_seq()), (20, 6));
    }

    #[test]
    fn values_out_of_range_stay_harmless() {
        let mut sample = sample();
        sample.record.data.process_name = [b'x'; 16];
        sample.record.data.tuple.addr_len = 200;
        sample.record.data.l7_protocal_hint = 9999;
        sample.record.data.msg_type = 77;
        sample.record.data.need_reconfirm = 255;
        sample.record.data.timestamp = u64::MAX;
        let record = as_record(&sample);
        assert_eq!(record.process_name().len(), 16);
        assert_eq!(record.local(), None);
        assert_eq!(record.protocol(), Protocol::Unknown(9999));
        assert_eq!(record.protocol().name(), "Unknown");
        assert_eq!(record.message_type(), MessageType::Unknown);
        assert!(record.need_reconfirm());
        assert!(record.timestamp() > UNIX_EPOCH);
    }

    #[test]
    fn ipv6_addresses_come_whole() {
        let mut sample = sample();
        sample.record.data.tuple.addr_len = 6;
        sample.record.data.tuple.raddr = Ipv6Addr::LOCALHOST.octets();
        assert_eq!(as_record(&sample).remote().unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn gap_causes_have_their_names() {
        let name = |cause| GapCause::from_raw(cause).to_string();
        let names: Vec<String> = (0..7).map(name).collect();
        let expected = [
            "unknown",
            "lapped",
            "perf_full",
            "no_room",
            "restart",
            "corrupt",
            "unknown",
        ];
        assert_eq!(names, expected);
    }
}

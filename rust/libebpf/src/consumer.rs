// SPDX-License-Identifier: Apache-2.0
//! One attachment to a producer.

use crate::callback::{on_gap, on_record, Flow, Slot};
use crate::error::Error;
use crate::record::{Direction, Event, MessageType, Protocol};
use libebpf_sys as sys;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::Duration;

/// Where a new consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// Only what is published from now on.
    #[default]
    Tail,
    /// Also what the ring still holds.
    Oldest,
}

/// What a consumer wants to see. A record must pass every part that is set; one that does not
/// is skipped before the handler, and counted in [`Stats::filtered`]. Gaps always come through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    protocols: u32,
    directions: u32,
    msg_types: u32,
    process_ids: Vec<u32>,
    ports: Vec<u16>,
}

impl Filter {
    /// Lets everything through.
    pub fn new() -> Filter {
        Filter::default()
    }

    /// Records of this protocol; with several calls, of any of them.
    pub fn protocol(mut self, protocol: Protocol) -> Filter {
        self.protocols |= match protocol {
            Protocol::Http1 => sys::EBPF_FILTER_HTTP1,
            Protocol::Http2 => sys::EBPF_FILTER_HTTP2,
            Protocol::Dubbo => sys::EBPF_FILTER_DUBBO,
            Protocol::MySql => sys::EBPF_FILTER_MYSQL,
            Protocol::Redis => sys::EBPF_FILTER_REDIS,
            Protocol::Kafka => sys::EBPF_FILTER_KAFKA,
            Protocol::Dns => sys::EBPF_FILTER_DNS,
            _ => sys::EBPF_FILTER_UNKNOWN,
        };
        self
    }

    /// Records of this process; with several calls, of any of them.
    pub fn process_id(mut self, process_id: u32) -> Filter {
        self.process_ids.push(process_id);
        self
    }

    /// Records whose remote or local port is this one; with several calls, any of them.
    pub fn port(mut self, port: u16) -> Filter {
        self.ports.push(port);
        self
    }

    /// Records of this direction.
    pub fn direction(mut self, direction: Direction) -> Filter {
        self.directions |= match direction {
            Direction::Send => sys::EBPF_FILTER_SND,
            Direction::Receive => sys::EBPF_FILTER_RCV,
        };
        self
    }

    /// Requests, responses, or what is neither; with several calls, any of them.
    pub fn message(mut self, kind: MessageType) -> Filter {
        self.msg_types |= match kind {
            MessageType::Request => sys::EBPF_FILTER_REQUEST,
            MessageType::Response => sys::EBPF_FILTER_RESPONSE,
            _ => sys::EBPF_FILTER_NO_TYPE,
        };
        self
    }

    /// The C form, which borrows the lists.
    fn raw(&self) -> sys::ebpf_filter {
        let count = |len: usize| len.try_into().unwrap_or(u32::MAX);
        sys::ebpf_filter {
            size: std::mem::size_of::<sys::ebpf_filter>(),
            protocols: self.protocols,
            directions: self.directions,
            msg_types: self.msg_types,
            process_count: count(self.process_ids.len()),
            process_ids: self.process_ids.as_ptr(),
            ports: self.ports.as_ptr(),
            port_count: count(self.ports.len()),
            reserved: 0,
        }
    }
}

/// Where a consumer stood in a lane, for [`Builder::resume`]. Its numbers can be kept in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Of the producer.
    pub epoch: u64,
    /// Of the record that comes next.
    pub seq: u64,
    /// Segment of the lane.
    pub segment: u64,
    /// Bytes into the segment.
    pub offset: u32,
    /// Number of the lane.
    pub lane: u32,
}

/// Says how to attach; made by [`Consumer::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is attached before open() is called"]
pub struct Builder {
    socket: Option<PathBuf>,
    lanes: u64,
    from: StartFrom,
    spin: Duration,
    name: Option<String>,
    no_reattach: bool,
    filter: Option<Filter>,
    positions: Vec<Position>,
}

impl Builder {
    /// Path of the producer's control socket. Default: `$EBPF_SOCKET`, else
    /// `/run/libebpf/producer.sock`.
    pub fn socket(mut self, path: impl AsRef<Path>) -> Builder {
        self.socket = Some(path.as_ref().to_owned());
        self
    }

    /// Bit mask of the lanes to read. Default: 0, which means all.
    pub fn lanes(mut self, mask: u64) -> Builder {
        self.lanes = mask;
        self
    }

    /// Where to begin. Default: at the tail.
    pub fn from(mut self, from: StartFrom) -> Builder {
        self.from = from;
        self
    }

    /// How long a poll that waits spins before it sleeps. Default: not at all.
    pub fn spin(mut self, time: Duration) -> Builder {
        self.spin = time;
        self
    }

    /// The name that the operator sees, at most 15 bytes. Default: the process name.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The end of the producer ends the stream (see [`Error::is_end_of_stream`]). Default: wait
    /// for the next producer and go on with it, after a gap of cause restart.
    pub fn no_reattach(mut self) -> Builder {
        self.no_reattach = true;
        self
    }

    /// What to see. Default: every record.
    pub fn filter(mut self, filter: Filter) -> Builder {
        self.filter = Some(filter);
        self
    }

    /// Goes on where an earlier consumer stood ([`Consumer::positions`]), in place of
    /// [`from`](Builder::from). What is gone since counts as lost; from another producer's
    /// epoch on, a gap of cause restart is told, and everything of the new one is read.
    pub fn resume(mut self, positions: &[Position]) -> Builder {
        self.positions = positions.to_vec();
        self
    }

    /// Attaches. Blocks for the connection only, at most a second.
    pub fn open(&self) -> Result<Consumer, Error> {
        let socket = self
            .socket
            .as_ref()
            .map(|path| c_string(path.as_os_str().as_bytes(), "path"));
        let name = self
            .name
            .as_ref()
            .map(|name| c_string(name.as_bytes(), "name"));
        let (socket, name) = (socket.transpose()?, name.transpose()?);
        let pointer =
            |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr());

        let filter = self.filter.as_ref().map(Filter::raw);
        let positions: Vec<_> = self.positions.iter().map(raw_position).collect();

        let slot = Box::new(Slot::default());
        let options = sys::ebpf_consumer_options {
            size: std::mem::size_of::<sys::ebpf_consumer_options>(),
            socket_path: pointer(&socket),
            lanes: self.lanes,
            from: match self.from {
                _ if !positions.is_empty() => sys::EBPF_FROM_RESUME,
                StartFrom::Tail => sys::EBPF_FROM_TAIL,
                StartFrom::Oldest => sys::EBPF_FROM_OLDEST,
            },
            flags: if self.no_reattach {
                sys::EBPF_NO_REATTACH
            } else {
                0
            },
            spin_us: self.spin.as_micros().try_into().unwrap_or(u32::MAX),
            reserved: 0,
            name: pointer(&name),
            on_record: Some(on_record),
            on_gap: Some(on_gap),
            user: Box::into_raw(slot).cast(),
            filter: filter.as_ref().map_or(std::ptr::null(), |f| f),
            positions: if positions.is_empty() {
                std::ptr::null()
            } else {
                positions.as_ptr()
            },
            position_count: positions.len(),
        };
        // SAFETY: from Box::into_raw, never null.
        let slot = unsafe { NonNull::new_unchecked(options.user.cast::<Slot>()) };
        let mut handle = std::ptr::null_mut();
        // SAFETY: the texts live until after the call, the slot until after the handle.
        let result = unsafe { sys::ebpf_consumer_open(&mut handle, &options) };
        match NonNull::new(handle) {
            Some(handle) if result >= 0 => Ok(Consumer { handle, slot }),
            _ => {
                let error = Error::from_return(result);
                // SAFETY: there is no handle that could use the slot.
                drop(unsafe { Box::from_raw(slot.as_ptr()) });
                Err(error)
            }
        }
    }
}

fn raw_position(position: &Position) -> sys::ebpf_position {
    sys::ebpf_position {
        epoch: position.epoch,
        seq: position.seq,
        segment: position.segment,
        offset: position.offset,
        lane: position.lane,
    }
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::invalid(&format!("the {} has a NUL byte in it", what)))
}

/// An attachment to a producer. It is used by one thread at a time, which need not be the one
/// that opened it:
///
/// ```
/// fn sendable<T: Send>() {}
/// sendable::<libebpf::Consumer>();
/// ```
/// ```compile_fail
/// fn shareable<T: Sync>() {}
/// shareable::<libebpf::Consumer>();
/// ```
#[derive(Debug)]
pub struct Consumer {
    handle: NonNull<sys::ebpf_consumer>,
    slot: NonNull<Slot>,
}

// SAFETY: the C handle may be used by any one thread at a time; the slot holds nothing of a
// thread's own outside of a poll.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Says how to attach; [`Builder::open`] does it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Delivers what is there, waiting up to `timeout` (`None`: without limit) for the first
    /// record, and returns the number of records delivered; 0: none in that time. One call
    /// delivers a bounded number of records, some thousand.
    ///
    /// The handler returns nothing, or [`ControlFlow::Break`](std::ops::ControlFlow) to end the
    /// poll after the record that it was called with; after a gap, the poll ends with the next
    /// record. It may block: only this consumer falls behind.
    ///
    /// # Errors
    /// [`Error::is_end_of_stream`], [`Error::is_interrupted`].
    ///
    /// # Panics
    /// When the handler panics, with its panic. The consumer stays usable; the record counts as
    /// delivered (after a panic on a gap the next record, too).
    pub fn poll<F, R>(&mut self, timeout: Option<Duration>, handler: F) -> Result<usize, Error>
    where
        F: FnMut(Event<'_>) -> R,
        R: Flow,
    {
        self.poll_once(timeout, handler).map(|(count, _)| count)
    }

    /// Polls until the handler returns [`ControlFlow::Break`](std::ops::ControlFlow) or the
    /// stream ends. Goes on when a signal interrupts it.
    ///
    /// # Errors
    /// [`Error::is_end_of_stream`].
    pub fn for_each<F, R>(&mut self, mut handler: F) -> Result<(), Error>
    where
        F: FnMut(Event<'_>) -> R,
        R: Flow,
    {
        loop {
            match self.poll_once(None, &mut handler) {
                Ok((_, true)) => return Ok(()),
                Ok((_, false)) => {}
                Err(error) if error.is_interrupted() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The number of records, and whether the handler stopped the poll.
    fn poll_once<F, R>(
        &mut self,
        timeout: Option<Duration>,
        mut handler: F,
    ) -> Result<(usize, bool), Error>
    where
        F: FnMut(Event<'_>) -> R,
        R: Flow,
    {
        let handle = self.handle.as_ptr();
        // SAFETY: the slot lives as long as self, and is only used through shared references.
        let slot = unsafe { self.slot.as_ref() };
        let (result, outcome) = slot.run(&mut handler, || {
            // SAFETY: a live handle, and &mut self keeps others away from it.
            unsafe { sys::ebpf_consumer_poll(handle, timeout_ms(timeout)) }
        });
        if let Some(panic) = outcome.panic {
            std::panic::resume_unwind(panic);
        }
        match usize::try_from(result) {
            Ok(count) => Ok((count, outcome.stopped)),
            Err(_) => Err(Error::from_return(result)),
        }
    }

    /// Where this consumer stands in each of its lanes, for [`Builder::resume`].
    pub fn positions(&self) -> Vec<Position> {
        let empty = sys::ebpf_position {
            epoch: 0,
            seq: 0,
            segment: 0,
            offset: 0,
            lane: 0,
        };
        let mut raw = [empty; sys::EBPF_LANES_MAX as usize];
        // SAFETY: a live handle, not shared between threads, and room for so many positions.
        let count = unsafe {
            sys::ebpf_consumer_positions(self.handle.as_ptr(), raw.as_mut_ptr(), raw.len())
        };
        let count = usize::try_from(count).unwrap_or(0).min(raw.len());
        raw[..count]
            .iter()
            .map(|position| Position {
                epoch: position.epoch,
                seq: position.seq,
                segment: position.segment,
                offset: position.offset,
                lane: position.lane,
            })
            .collect()
    }

    /// Where this consumer stands, in figures.
    pub fn stats(&self) -> Stats {
        let mut raw = sys::ebpf_consumer_stats {
            size: std::mem::size_of::<sys::ebpf_consumer_stats>(),
            epoch: 0,
            published: 0,
            delivered: 0,
            filtered: 0,
            lost: 0,
            unread: 0,
            upstream_lost: 0,
            gaps: 0,
            sleeps: 0,
            reattaches: 0,
            lane_count: 0,
            consumer_id: 0,
            last_end: 0,
            last_end_errno: 0,
        };
        // SAFETY: a live handle, not shared between threads, and a struct of the size it says.
        let result = unsafe { sys::ebpf_consumer_stats(self.handle.as_ptr(), &mut raw) };
        debug_assert_eq!(result, 0, "the size was right");
        Stats {
            epoch: raw.epoch,
            published: raw.published,
            delivered: raw.delivered,
            filtered: raw.filtered,
            lost: raw.lost,
            unread: raw.unread,
            upstream_lost: raw.upstream_lost,
            gaps: raw.gaps,
            sleeps: raw.sleeps,
            reattaches: raw.reattaches,
            lane_count: raw.lane_count,
            consumer_id: raw.consumer_id,
            last_end: End::from_raw(raw.last_end, raw.last_end_errno),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: the handle is used no more, and nothing uses the slot once it is closed.
        unsafe {
            sys::ebpf_consumer_close(self.handle.as_ptr());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

impl AsRawFd for Consumer {
    fn as_raw_fd(&self) -> RawFd {
        // SAFETY: a live handle.
        unsafe { sys::ebpf_consumer_fd(self.handle.as_ptr()) }
    }
}

impl AsFd for Consumer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the handle owns the descriptor and keeps it open for its life.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

/// Whole milliseconds, rounded up so that a short timeout still waits; -1: without limit.
fn timeout_ms(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(time) => {
            let ms = (time.as_nanos() + 999_999) / 1_000_000;
            ms.try_into().unwrap_or(i32::MAX)
        }
    }
}

/// Where a consumer stands: sums over its lanes, and over all epochs since it was opened.
/// At any moment `published == delivered + filtered + lost + unread`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Of the producer that it reads; 0: none at present.
    pub epoch: u64,
    /// Data records published since it joined.
    pub published: u64,
    /// Handed to the handler.
    pub delivered: u64,
    /// Skipped by a filter.
    pub filtered: u64,
    /// Lapped, or unreadable.
    pub lost: u64,
    /// Still to come.
    pub unread: u64,
    /// Lost before the ring, as gaps told; not in `published`.
    pub upstream_lost: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Producers that it found again.
    pub reattaches: u64,
    /// Lanes that it reads.
    pub lane_count: u32,
    /// Its id at the producer; 0: not attached.
    pub consumer_id: u32,
    /// Why the last attachment ended; `None`: none has so far.
    pub last_end: Option<End>,
}

/// Why an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The producer marked the ring as ended.
    Orderly,
    /// The connection was lost: the producer died, most likely.
    HungUp,
    /// The producer detached this consumer; its reason as an errno value.
    Detached(u32),
}

impl End {
    fn from_raw(end: u32, errno: u32) -> Option<End> {
        match end {
            sys::EBPF_END_ORDERLY => Some(End::Orderly),
            sys::EBPF_END_HUNG_UP => Some(End::HungUp),
            sys::EBPF_END_DETACHED => Some(End::Detached(errno)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        assert_eq!(timeout_ms(None), -1);
        assert_eq!(timeout_ms(Some(Duration::ZERO)), 0);
        assert_eq!(timeout_ms(Some(Duration::from_nanos(1))), 1);
        assert_eq!(timeout_ms(Some(Duration::from_millis(250))), 250);
        assert_eq!(timeout_ms(Some(Duration::MAX)), i32::MAX);
    }

    #[test]
    fn a_nul_byte_is_refused_before_c_sees_it() {
        let error = Consumer::builder().socket("/tmp/a\0b").open().unwrap_err();
        assert_eq!(error.errno(), crate::error::EINVAL);
        assert_eq!(error.to_string(), "the path has a NUL byte in it");
    }

    #[test]
    fn a_missing_producer_is_told_with_its_path() {
        let path = "/nonexistent/producer.sock";
        let error = Consumer::builder().socket(path).open().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().contains(path), "{}", error);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The original API: one tracer per process, records by callback on worker threads.
//!
//! Where a producer runs already, the program attaches to it, which needs no privilege beyond
//! access to its socket; where none runs, the program becomes the producer, which needs root or
//! CAP_BPF and CAP_PERFMON. Programs that only read a running trace have more to choose from with
//! [`Consumer`](crate::Consumer).
//!
//! ```no_run
//! use libebpf::tracer::{self, Options};
//!
//! tracer::init(None, true)?;
//! tracer::run(&Options::default(), |data| {
//!     println!("{} bytes of {}", data.payload().len(), data.protocol())
//! })?;
//! tracer::finish();
//! tracer::start()?;
//! # Ok::<(), tracer::Error>(())
//! ```
//!
//! What is refused is logged with its reason, where [`init`] said; the C functions give no more
//! than that they refused.

use crate::record::{data, Direction, MessageType, Protocol};
use libebpf_sys as sys;
use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::SystemTime;

/// A call was refused; the log says why.
///
/// ```
/// let error = libebpf::tracer::start().unwrap_err(); // run() comes first
/// assert_eq!(error.function(), "tracer_start");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    function: &'static str,
}

impl Error {
    /// The C function that refused.
    pub fn function(&self) -> &'static str {
        self.function
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}() refused, see the log", self.function)
    }
}

impl std::error::Error for Error {}

fn check(function: &'static str, result: sys::c_int) -> Result<(), Error> {
    if result == 0 {
        Ok(())
    } else {
        Err(Error { function })
    }
}

/// Sizes of the tracer; see `libebpf/tracer.h`. All but `threads` are for the producer that the
/// program becomes; one that runs already has its own.
///
/// ```
/// let options = libebpf::tracer::Options { threads: 4, ..Default::default() };
/// assert_eq!(options.ring_size, 65536);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads that call back, 1 to 64; a socket is always the same one's.
    pub threads: u16,
    /// Pages of each CPU's perf buffer, a power of two.
    pub perf_pages: u32,
    /// Full-size records that the ring holds at least, a power of two.
    pub ring_size: u32,
    /// Sockets that are followed at once.
    pub max_socket_entries: u32,
    /// Threads that are followed at once.
    pub max_trace_entries: u32,
    /// Sweep idle sockets when so many are followed.
    pub socket_map_max_reclaim: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: 1,
            perf_pages: 128,
            ring_size: 65536,
            max_socket_entries: 524288,
            max_trace_entries: 524288,
            socket_map_max_reclaim: 520000,
        }
    }
}

/// Where the tracer stands.
///
/// ```
/// use libebpf::tracer::{self, State};
/// assert_eq!(tracer::state(), State::Init);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// [`run`] has not succeeded yet.
    Init,
    /// Ready, nothing is delivered.
    Stopped,
    /// Records flow.
    Running,
}

/// A socket read or write, as the callback of [`run`] gets it. It lies in the ring, but for the
/// header, and is gone when the callback returns.
///
/// ```no_run
/// use libebpf::tracer::{self, Data, Options};
///
/// fn print(data: Data<'_>) {
///     println!(
///         "{} {:?} {} {:?} -> {:?}: {} of {} bytes, trace {}",
///         libebpf::escape(data.process_name()),
///         data.direction(),
///         data.protocol(),
///         data.local(),
///         data.remote(),
///         data.payload().len(),
///         data.syscall_len(),
///         data.trace_id(),
///     );
/// }
/// tracer::init(None, false)?;
/// tracer::run(&Options::default(), print)?;
/// # Ok::<(), tracer::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Data<'a> {
    raw: &'a sys::SK_BPF_DATA,
    payload: PhantomData<&'a [u8]>,
}

impl<'a> Data<'a> {
    /// # Safety
    /// `cap_data` points at `cap_len` bytes that stay readable and unchanged for `'a`, or is null.
    unsafe fn new(raw: &'a sys::SK_BPF_DATA) -> Data<'a> {
        Data {
            raw,
            payload: PhantomData,
        }
    }

    /// The header in the original's layout.
    pub fn raw(&self) -> &'a sys::SK_BPF_DATA {
        self.raw
    }

    /// The captured bytes, `min(syscall_len, capture limit)` of them.
    pub fn payload(&self) -> &'a [u8] {
        if self.raw.cap_data.is_null() {
            return &[];
        }
        // SAFETY: what new() was promised.
        unsafe {
            std::slice::from_raw_parts(self.raw.cap_data.cast::<u8>(), self.raw.cap_len as usize)
        }
    }

    /// Process id (tgid), in the initial pid namespace.
    pub fn process_id(&self) -> u32 {
        self.raw.process_id
    }

    /// Thread id, in the initial pid namespace.
    pub fn thread_id(&self) -> u32 {
        self.raw.thread_id
    }

    /// Name of the thread as the kernel has it; show it through [`escape`](crate::escape()).
    pub fn process_name(&self) -> &'a [u8] {
        data::process_name(self.raw)
    }

    /// The local address and port; `None` if the address family is not known.
    pub fn local(&self) -> Option<SocketAddr> {
        data::local(self.raw)
    }

    /// The remote address and port; `None` if the address family is not known.
    pub fn remote(&self) -> Option<SocketAddr> {
        data::remote(self.raw)
    }

    /// Names the socket, not a descriptor; unique, never reused.
    pub fn socket_id(&self) -> u64 {
        self.raw.socket_id
    }

    /// The protocol; only likely where [`need_reconfirm`](Data::need_reconfirm).
    pub fn protocol(&self) -> Protocol {
        data::protocol(self.raw)
    }

    /// The protocol is only likely.
    pub fn need_reconfirm(&self) -> bool {
        self.raw.need_reconfirm != 0
    }

    /// Request or response.
    pub fn message_type(&self) -> MessageType {
        data::message_type(self.raw)
    }

    /// Sent or received.
    pub fn direction(&self) -> Direction {
        data::direction(self.raw)
    }

    /// TCP sequence number of the first payload byte; UDP: 0.
    pub fn tcp_seq(&self) -> u64 {
        self.raw.tcp_seq
    }

    /// Trace id; 0: none.
    pub fn trace_id(&self) -> u64 {
        self.raw.syscall_trace_id_call
    }

    /// When the system call ended.
    pub fn timestamp(&self) -> SystemTime {
        data::timestamp(self.raw)
    }

    /// Bytes that the system call moved.
    pub fn syscall_len(&self) -> u64 {
        self.raw.syscall_len
    }

    /// Number of this record within its socket, from 0.
    pub fn cap_seq(&self) -> u64 {
        self.raw.cap_seq
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("process_id", &self.process_id())
            .field("socket_id", &self.socket_id())
            .field("cap_seq", &self.cap_seq())
            .field("protocol", &self.protocol())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

type Callback = Box<dyn Fn(Data<'_>) + Send + Sync>;

// Set before the tracer runs, and never freed: C may call back until the process ends.
static CALLBACK: AtomicPtr<Callback> = AtomicPtr::new(ptr::null_mut());
static PANICKED: AtomicBool = AtomicBool::new(false);

/// # Safety
/// `data` as C delivers it: null never, valid until this returns.
unsafe extern "C" fn on_data(data: *mut sys::SK_BPF_DATA) {
    let callback = CALLBACK.load(Ordering::Acquire);
    if callback.is_null() || PANICKED.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: a callback that was set stays; the record outlives this call.
    let (callback, data) = unsafe { (&*callback, Data::new(&*data)) };
    if catch_unwind(AssertUnwindSafe(|| callback(data))).is_err() {
        PANICKED.store(true, Ordering::Relaxed);
    }
}

/// Says where the log goes: appended to a file, to standard output, both or neither. Once,
/// before all else.
///
/// ```
/// use libebpf::tracer;
/// tracer::init(None, false)?;
/// assert!(tracer::init(None, false).is_err(), "once only");
/// # Ok::<(), tracer::Error>(())
/// ```
pub fn init(log_file: Option<&Path>, to_stdout: bool) -> Result<(), Error> {
    const NAME: &str = "bpf_tracer_init";
    let path = log_file.map(|path| CString::new(path.as_os_str().as_bytes()));
    let path = path.transpose().map_err(|_| Error { function: NAME })?;
    let pointer = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
    // SAFETY: null, or a text that outlives the call.
    check(NAME, unsafe { sys::bpf_tracer_init(pointer, to_stdout) })
}

/// Says that every tracer of the program has been started.
///
/// ```no_run
/// use libebpf::tracer::{self, Options};
/// tracer::init(None, true)?;
/// tracer::run(&Options::default(), |_| ())?;
/// tracer::finish();
/// # Ok::<(), tracer::Error>(())
/// ```
pub fn finish() {
    // SAFETY: needs nothing.
    unsafe { sys::bpf_tracer_finish() }
}

/// Attaches to the running producer, or becomes one. Afterwards the tracer is stopped: [`start`]
/// begins.
///
/// The callback runs on `options.threads` threads. It may block: only this program falls behind.
/// After a panic of the callback it is not called again, and [`panicked`] says so.
///
/// ```
/// use libebpf::tracer::{self, Options};
/// tracer::init(None, false)?;
/// let odd = Options { ring_size: 100, ..Options::default() }; // no power of two
/// assert!(tracer::run(&odd, |data| println!("{:?}", data)).is_err());
/// # Ok::<(), tracer::Error>(())
/// ```
pub fn run<F>(options: &Options, callback: F) -> Result<(), Error>
where
    F: Fn(Data<'_>) + Send + Sync + 'static,
{
    const NAME: &str = "running_socket_tracer";
    let callback: *mut Callback = Box::into_raw(Box::new(Box::new(callback)));
    let taken = CALLBACK.compare_exchange(
        ptr::null_mut(),
        callback,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    if taken.is_err() {
        // SAFETY: ours, and nobody has seen it.
        drop(unsafe { Box::from_raw(callback) });
        return Err(Error { function: NAME });
    }
    // SAFETY: on_data() may be called from any thread at any time, and does not unwind.
    let result = unsafe {
        sys::running_socket_tracer(
            Some(on_data),
            options.threads.into(),
            options.perf_pages,
            options.ring_size,
            options.max_socket_entries,
            options.max_trace_entries,
            options.socket_map_max_reclaim,
        )
    };
    if result != 0 {
        CALLBACK.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: a call that failed has left no thread that could call back.
        drop(unsafe { Box::from_raw(callback) });
    }
    check(NAME, result)
}

/// Records flow from now on.
///
/// ```no_run
/// # use libebpf::tracer::{self, Options, State};
/// # tracer::init(None, true)?;
/// tracer::run(&Options::default(), |_| ())?;
/// assert_eq!(tracer::state(), State::Stopped);
/// tracer::start()?;
/// assert_eq!(tracer::state(), State::Running);
/// # Ok::<(), tracer::Error>(())
/// ```
pub fn start() -> Result<(), Error> {
    // SAFETY: needs nothing.
    check("tracer_start", unsafe { sys::tracer_start() })
}

/// No more records. When it returns the callback does not run any more, unless this was called
/// from inside it.
///
/// ```
/// assert!(libebpf::tracer::stop().is_err(), "nothing runs");
/// ```
pub fn stop() -> Result<(), Error> {
    // SAFETY: needs nothing.
    check("tracer_stop", unsafe { sys::tracer_stop() })
}

/// Where the tracer stands.
///
/// ```
/// use libebpf::tracer::{self, State};
/// assert_ne!(tracer::state(), State::Running);
/// ```
pub fn state() -> State {
    match stats().tracer_state {
        sys::TRACER_RUNNING => State::Running,
        sys::TRACER_STOP => State::Stopped,
        _ => State::Init,
    }
}

/// What the tracer has counted; all 0 before [`run`].
///
/// ```
/// let stats = libebpf::tracer::stats();
/// assert_eq!((stats.user_enqueue_count, stats.user_dequeue_count), (0, 0));
/// ```
pub fn stats() -> sys::SK_TRACE_STATS {
    // SAFETY: needs nothing.
    unsafe { sys::socket_tracer_stats() }
}

/// The callback panicked, and has not been called since.
///
/// ```
/// assert!(!libebpf::tracer::panicked());
/// ```
pub fn panicked() -> bool {
    PANICKED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    // One test: the tracer is the process's only one, and its calls have an order.
    #[test]
    fn the_order_is_kept_and_a_panic_stays_out_of_c() {
        assert_eq!(state(), State::Init);
        assert_eq!(start().unwrap_err().function(), "tracer_start");
        assert!(stop().is_err());
        assert!(run(&Options::default(), |_| ()).is_err(), "before init()");
        assert!(init(Some(Path::new("/nonexistent/folder/log")), false).is_err());
        assert!(init(Some(Path::new("/tmp/a\0b")), false).is_err());
        init(None, false).unwrap();
        assert!(init(None, false).is_err(), "called twice");
        let odd = Options {
            ring_size: 100,
            ..Options::default()
        };
        assert!(run(&odd, |_| ()).is_err(), "not a power of two");
        finish();

        // SAFETY: zeros are a valid header; it has no payload.
        let mut data: sys::SK_BPF_DATA = unsafe { std::mem::zeroed() };
        let calls: &'static AtomicUsize = Box::leak(Box::default());
        let callback: Callback = Box::new(move |data: Data<'_>| {
            assert!(data.payload().is_empty());
            calls.fetch_add(1, Ordering::Relaxed);
            // Without the panic hook's message on standard error.
            std::panic::resume_unwind(Box::new("broken"));
        });
        CALLBACK.store(Box::into_raw(Box::new(callback)), Ordering::Release);
        for _ in 0..2 {
            // SAFETY: a valid header.
            unsafe { on_data(&mut data) };
        }
        assert!(panicked());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}

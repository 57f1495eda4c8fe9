// SPDX-License-Identifier: Apache-2.0
//! Read the socket trace of a running `ebpf-producer`, in place.
//!
//! A [`Consumer`] attaches to the producer's socket and maps its ring read-only. Records are
//! handed to a closure as [`Event`]s that borrow from the ring: no byte is copied, and the
//! borrow ends with the closure. A consumer that is slow, or stops, holds up nobody; it is told
//! what it missed by [`Event::Gap`].
//!
//! ```no_run
//! use libebpf::{Consumer, Event};
//!
//! let mut consumer = Consumer::builder().name("my-agent").open()?;
//! consumer.for_each(|event| match event {
//!     Event::Record(record) => println!(
//!         "{} {:?} {} bytes",
//!         libebpf::escape(record.process_name()),
//!         record.remote(),
//!         record.payload().len()
//!     ),
//!     Event::Gap(gap) => eprintln!("{} records lost ({})", gap.count, gap.cause),
//! })?;
//! # Ok::<(), libebpf::Error>(())
//! ```
//!
//! In an event loop, watch the consumer's descriptor ([`std::os::unix::io::AsFd`]) for reading,
//! level-triggered, and call [`Consumer::poll`] with a timeout of zero until it returns 0 before
//! each wait.
//!
//! The C library is found at build time by the environment variable `LIBEBPF_LIB_DIR`, else in
//! the build folder of the source tree, else where the linker looks; `LIBEBPF_STATIC=1` links it
//! statically.
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod callback;
mod consumer;
mod error;
mod escape;
mod record;
pub mod tracer;

pub use callback::Flow;
pub use consumer::{Builder, Consumer, End, Filter, Position, StartFrom, Stats};
pub use error::Error;
pub use escape::{escape, Escaped};
pub use libebpf_sys as sys;
pub use record::{Direction, Event, Gap, GapCause, MessageType, Protocol, Record};

// The programs in the crates' READMEs are compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
#[cfg(doctest)]
#[doc = include_str!("../../README.zh-CN.md")]
struct ReadmeInChinese;

/// Version of the C library that is linked, "MAJOR.MINOR.PATCH".
///
/// ```
/// assert_eq!(libebpf::version().split('.').count(), 3);
/// ```
pub fn version() -> &'static str {
    // SAFETY: the text is static and NUL-terminated.
    let text = unsafe { std::ffi::CStr::from_ptr(sys::ebpf_version()) };
    text.to_str().unwrap_or("")
}

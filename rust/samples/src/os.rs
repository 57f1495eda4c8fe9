// SPDX-License-Identifier: Apache-2.0
//! The few functions of the C runtime that the standard library does not offer, declared by
//! hand so that the sample needs no other crate.

use std::ffi::{c_void, CStr};
use std::fs::File;
use std::io;
use std::os::raw::{c_char, c_int, c_long};
use std::os::unix::io::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

const AF_INET6: c_int = 10;
const INET6_TEXT_BYTES: usize = 46;
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;

#[repr(C)]
struct Tm {
    tm_sec: c_int,
    tm_min: c_int,
    tm_hour: c_int,
    tm_mday: c_int,
    tm_mon: c_int,
    tm_year: c_int,
    tm_wday: c_int,
    tm_yday: c_int,
    tm_isdst: c_int,
    tm_gmtoff: c_long,
    tm_zone: *const c_char,
}

extern "C" {
    fn localtime_r(time: *const i64, result: *mut Tm) -> *mut Tm;
    fn inet_ntop(family: c_int, from: *const c_void, to: *mut c_char, bytes: u32) -> *const c_char;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn siginterrupt(number: c_int, flag: c_int) -> c_int;
    fn isatty(fd: c_int) -> c_int;
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_number: c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM only make [`stop_requested`] true, and interrupt a write that
/// waits for a reader.
pub fn catch_signals() {
    for number in [SIGINT, SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe {
            signal(number, on_signal);
            siginterrupt(number, 1);
        }
    }
}

/// SIGINT or SIGTERM came.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Standard output without a buffer of its own.
pub fn raw_stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    // SAFETY: takes no pointer.
    unsafe { isatty(1) == 1 }
}

/// Hour, minute and second of local time, at so many seconds since 1970.
pub fn local_time(seconds: i64) -> Option<(i32, i32, i32)> {
    let mut tm = Tm {
        tm_sec: 0,
        tm_min: 0,
        tm_hour: 0,
        tm_mday: 0,
        tm_mon: 0,
        tm_year: 0,
        tm_wday: 0,
        tm_yday: 0,
        tm_isdst: 0,
        tm_gmtoff: 0,
        tm_zone: std::ptr::null(),
    };
    // SAFETY: both point at values of ours.
    let converted = unsafe { localtime_r(&seconds, &mut tm) };
    (!converted.is_null()).then_some((tm.tm_hour, tm.tm_min, tm.tm_sec))
}

/// An IPv6 address as C programs write it. The standard library abbreviates some addresses in
/// another way.
pub fn ipv6_text(address: &[u8; 16]) -> String {
    let mut text: [c_char; INET6_TEXT_BYTES] = [0; INET6_TEXT_BYTES];
    // SAFETY: 16 bytes in, and as many out as the longest address needs; NUL-terminated.
    unsafe {
        inet_ntop(
            AF_INET6,
            address.as_ptr().cast(),
            text.as_mut_ptr(),
            INET6_TEXT_BYTES as u32,
        );
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_abbreviated_as_in_c() {
        let mut address = [0; 16];
        assert_eq!(ipv6_text(&address), "::");
        address[13] = 5;
        address[15] = 6;
        assert_eq!(ipv6_text(&address), "::0.5.0.6");
        assert_eq!(ipv6_text(&[0xfe; 16]).len(), 39);
    }

    #[test]
    fn local_time_counts_seconds() {
        let (_, minute, second) = local_time(61).unwrap();
        let (_, next_minute, next_second) = local_time(62).unwrap();
        assert_eq!((next_minute, next_second), (minute, second + 1));
        assert_eq!(local_time(i64::MAX), None);
    }
}

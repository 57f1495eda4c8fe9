// SPDX-License-Identifier: Apache-2.0
//! What the C library's negative returns become.

use libebpf_sys as sys;
use std::ffi::CStr;
use std::{fmt, io};

// errno values are the same on every architecture that Linux has, but for a few that are not
// among these.
const EINTR: i32 = 4;
pub(crate) const EINVAL: i32 = 22;
const EPIPE: i32 = 32;

/// An error of the C library: the errno value, and one line that says what it ran into.
///
/// ```
/// let open = libebpf::Consumer::builder().socket("/nonexistent.sock").open();
/// let error = open.err().expect("nobody serves that");
/// assert_eq!(error.errno(), 2); // ENOENT
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// assert!(error.to_string().contains("/nonexistent.sock"));
/// ```
#[derive(Debug, Clone)]
pub struct Error {
    errno: i32,
    text: String,
}

impl Error {
    pub(crate) fn invalid(text: &str) -> Error {
        Error {
            errno: EINVAL,
            text: text.to_owned(),
        }
    }

    /// The error behind a negative return value. On the thread of the call, right after it.
    pub(crate) fn from_return(value: i32) -> Error {
        // SAFETY: the text is valid until this thread's next call, and copied before.
        let text = unsafe {
            let text = sys::ebpf_last_error();
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        Error {
            errno: value.wrapping_neg(),
            text,
        }
    }

    /// The positive errno value.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// The errno value as the standard library names it.
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }

    /// The producer is gone, everything that it had published is delivered, and
    /// [`Builder::no_reattach`](crate::Builder::no_reattach) was asked for.
    pub fn is_end_of_stream(&self) -> bool {
        self.errno == EPIPE
    }

    /// A signal came before anything was delivered.
    pub fn is_interrupted(&self) -> bool {
        self.errno == EINTR
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            io::Error::from_raw_os_error(self.errno).fmt(f)
        } else {
            f.write_str(&self.text)
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_errno_and_text() {
        let error = Error {
            errno: 2,
            text: "no producer at /x".into(),
        };
        assert_eq!(error.errno(), 2);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "no producer at /x");
        assert_eq!(io::Error::from(error).to_string(), "no producer at /x");
    }

    #[test]
    fn names_the_errno_where_there_is_no_text() {
        let error = Error {
            errno: 13,
            text: String::new(),
        };
        assert!(error.to_string().contains("ermission denied"), "{}", error);
    }
}

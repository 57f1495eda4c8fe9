// SPDX-License-Identifier: Apache-2.0
//! Captured bytes for people: nothing of them reaches a terminal raw.

use std::fmt;

/// Shows bytes as `escape` says; made by [`escape`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

/// Displays `bytes` so that a terminal can show them: 0x20 to 0x7e stand for themselves but for
/// the backslash, which becomes `\\`; then `\t`, `\r`, `\n`; every other byte is `\x` and two
/// lower-case hexadecimal digits. The samples of the C++ library escape in the same way.
///
/// ```
/// assert_eq!(libebpf::escape(b"GET /\x1b\\\r\n").to_string(), r"GET /\x1b\\\r\n");
/// ```
pub fn escape(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for &byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                b'\t' => f.write_str("\\t")?,
                b'\r' => f.write_str("\\r")?,
                b'\n' => f.write_str("\\n")?,
                0x20..=0x7e => f.write_char(byte.into())?,
                _ => write!(f, "\\x{:02x}", byte)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn only_printable_ascii_comes_out() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let text = escape(&every_byte).to_string();
        assert!(
            text.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "{}",
            text
        );
        assert!(text.starts_with("\\x00\\x01"));
        assert!(text.ends_with("\\xfe\\xff"));
    }
}

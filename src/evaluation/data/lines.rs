//! Lines of a file, each within a bound.

use std::io::{self, BufRead, Read as _};

/// Longest line, as long as a body that a server takes unless its configuration says otherwise.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;
/// What some editors put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: Vec::new() }
    }

    /// The line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether an object begins here. Steps over a byte-order mark; looks no further than one read goes.
    pub(super) fn begins_with_object(&mut self) -> io::Result<bool> {
        if self.reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.reader.consume(BYTE_ORDER_MARK.len());
        }
        let mut seen = self.reader.fill_buf()?.iter();
        Ok(seen.find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'))
    }

    /// The next line without its end.
    pub(super) fn read(&mut self) -> io::Result<Option<&mut Vec<u8>>> {
        self.bytes.clear();
        self.number += 1;
        // Two bytes more are room for the end of a line that is just short enough.
        let most = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX).saturating_add(2);
        if (&mut self.reader).take(most).read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(None);
        }
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
            if self.bytes.last() == Some(&b'\r') {
                self.bytes.pop();
            }
        }
        if self.bytes.len() > MAX_LINE_BYTES {
            return Err(io::Error::other("the line is longer than 16 MiB"));
        }
        Ok(Some(&mut self.bytes))
    }
}

//! Short texts in a model's folder, read within bounds.

use crate::engine::open_plain;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Longest text, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// What some editors put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What stands in front of UTF-16, as some shells write it.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A text file; `None` when there is none. `label` is how messages call it.
pub(super) fn read_text(path: &Path, label: &str) -> Result<Option<String>, String> {
    match read_bounded(path) {
        Ok(text) => Ok(Some(text)),
        // A model that is a file and no folder has no texts.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{label}: {error}")),
    }
}

/// A text of at most so many bytes from a plain file, without a byte order mark; `None` where nothing has that name. A link that leads nowhere, or a pipe,
/// is an error: somebody wanted something there.
///
/// # Errors
///
/// It cannot be read, is no plain file, is longer, or is no text.
pub fn read_plain(path: &Path, max_bytes: u64) -> io::Result<Option<String>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        found => {
            found?;
        }
    }
    let mut text = String::new();
    open_plain(path, 0)?.take(max_bytes + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max_bytes {
        let message = format!("it is larger than {} MiB", max_bytes >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(Some(text))
}

/// A text of at most 1 MiB from a plain file.
pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    text(read_bytes(path, MAX_TEXT_BYTES)?).map_err(io::Error::other)
}

/// At most so many bytes, which is a number of MiB, from a plain file.
pub(super) fn read_bytes(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_plain(path, 0)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("the file is longer than {} MiB", max_bytes >> 20)));
    }
    Ok(bytes)
}

/// Text as editors leave it: some put a byte-order mark in front, which is no part of it.
fn text(mut bytes: Vec<u8>) -> Result<String, &'static str> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    if UTF_16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err("the file is UTF-16, expected UTF-8");
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        std::fs::write(&file, "\u{feff}# keys").unwrap();
        assert_eq!(read_plain(&file, 100).unwrap().as_deref(), Some("# keys"));
        assert_eq!(read_plain(&folder.path().join("none"), 100).unwrap(), None);
    }
}

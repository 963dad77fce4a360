//! Which bytes a file has: digests, and whether a file is still the one that was read.

use crate::engine::open_plain;
use sha2::{Digest as _, Sha256};
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How much of a file is hashed at a time.
const CHUNK: usize = 1 << 16;

/// SHA-256 of a file that may be large, in lowercase hexadecimal.
///
/// # Errors
///
/// It cannot be read, or is no plain file.
pub fn file_digest(path: &Path) -> io::Result<String> {
    Fingerprint::take(path).map(|print| print.digest)
}

/// A model file as it was when its digest was taken.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    /// SHA-256 of the bytes.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
    stamp: Stamp,
}

/// What changes when a file is written, replaced or moved. Size, time and number may be those of another file; the time of the
/// last change of the entry itself, which nobody can set, is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<std::time::SystemTime>,
    device: u64,
    number: u64,
    changed: (i64, i64),
}

impl Fingerprint {
    /// Reads a model file.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        Self::take_up_to(path, u64::MAX)
    }

    /// Reads a model file that has at most so many bytes: one that fits nowhere would be read for hours.
    pub(super) fn take_up_to(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut file = open_plain(path, 0)?;
        let metadata = file.metadata()?;
        if metadata.len() > max_bytes {
            let text = format!(
                "it has {} bytes, at most {max_bytes} are read (limits.memory_bytes)",
                metadata.len()
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            hash.update(&chunk[..n]);
        }
        Ok(Self {
            digest: hex(&hash.finalize()),
            size: metadata.len(),
            stamp: Stamp::of(&metadata),
        })
    }

    /// Whether the file is, by its stamp, still the one that was read: a file that is being copied
    /// into place while it is loaded must not be served under a digest that it does not have.
    pub(super) fn still_holds(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }
}

impl Stamp {
    /// That of a file as it is now.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            device: metadata.dev(),
            number: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Bytes in lowercase hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_fingerprint_notices_a_replaced_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.pt");
        fs::write(&file, "abc").unwrap();
        let print = Fingerprint::take(&file).unwrap();
        assert_eq!(
            print.digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(print.still_holds(&file));
        fs::write(&file, "abcd").unwrap();
        assert!(!print.still_holds(&file), "a file that changed must not pass for the old one");
    }
}

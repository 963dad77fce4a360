//! What is in a zip archive: its central directory is read, and nothing else of it.
//!
//! The bytes may be anybody's. Whatever they say, no more than a fixed amount is read and held, and
//! what is not as it should be ends the reading.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// The longest comment that an archive can have, and the record at its end before it; and a little more, since libtorch's
/// reader looks for that in steps of 4 KiB.
const MAX_TAIL_BYTES: u64 = 65_535 + END_BYTES as u64 + (8 << 10);
/// Bytes of a directory that are read at most: names of some hundred thousand entries.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
const WIDE_END: &[u8] = b"PK\x06\x06";
const WIDE_END_BYTES: usize = 56;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;

/// How far an archive could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Reading {
    /// Every record was visited.
    Whole,
    /// The record that ends every archive is not there.
    CutOff,
    /// The directory is damaged or larger than what is read.
    Unclear,
}

/// What the directory says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Entry {
    pub(in crate::engine) name: String,
    /// How it is packed.
    pub(in crate::engine) method: u16,
    /// The CRC-32 of its bytes, unpacked.
    pub(in crate::engine) checksum: u32,
    /// Its bytes as they lie there, and unpacked.
    pub(in crate::engine) packed: u64,
    pub(in crate::engine) size: u64,
    /// Where its own header begins.
    pub(in crate::engine) header_at: u64,
    /// Whether it is marked as a folder (bit 4 of the external attributes, as MS-DOS has them).
    pub(in crate::engine) is_folder: bool,
}

/// Visits the records of an archive, one after the other.
pub(in crate::engine) fn entries(
    source: &mut (impl Read + Seek),
    visit: &mut dyn FnMut(Entry),
) -> io::Result<Reading> {
    let size = source.seek(SeekFrom::End(0))?;
    let tail_at = size.saturating_sub(MAX_TAIL_BYTES);
    let tail = read_at(source, tail_at, MAX_TAIL_BYTES)?;
    let ends_at = tail.windows(END_BYTES).rposition(|window| window.starts_with(END));
    let Some(ends_at) = ends_at else { return Ok(Reading::CutOff) };
    let end = &tail[ends_at..];
    let (Some(n_bytes), Some(at)) = (u32_at(end, 12), u32_at(end, 16)) else {
        return Ok(Reading::Unclear);
    };
    let fits = |narrow: u32, wide: u64| narrow == u32::MAX || u64::from(narrow) == wide;
    let directory = match wide_directory(source, tail_at + ends_at as u64)? {
        // Archives beyond 4 GiB keep the true figures elsewhere. Some readers take those wherever there are any, others only
        // where the usual ones are too small for them: they must see one directory.
        Wide::There(figures) => {
            Some(figures).filter(|wide| fits(at, wide.0) && fits(n_bytes, wide.1))
        }
        Wide::Damaged => None,
        Wide::Absent if n_bytes == u32::MAX || at == u32::MAX => None,
        Wide::Absent => Some((u64::from(at), u64::from(n_bytes))),
    };
    match directory {
        Some((at, n_bytes)) if n_bytes <= MAX_DIRECTORY_BYTES => {
            source.seek(SeekFrom::Start(at))?;
            walk(BufReader::new(source.take(n_bytes)), visit)
        }
        _ => Ok(Reading::Unclear),
    }
}

/// What a large archive says of its directory: where it begins, and its bytes.
enum Wide {
    Absent,
    Damaged,
    There((u64, u64)),
}

fn wide_directory(source: &mut (impl Read + Seek), end_at: u64) -> io::Result<Wide> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else { return Ok(Wide::Absent) };
    let locator = read_at(source, locator_at, LOCATOR_BYTES)?;
    let Some(at) = u64_at(&locator, 8).filter(|_| locator.starts_with(LOCATOR)) else {
        return Ok(Wide::Absent);
    };
    let end = read_at(source, at, WIDE_END_BYTES as u64)?;
    let figures = u64_at(&end, 48).zip(u64_at(&end, 40)).filter(|_| end.starts_with(WIDE_END));
    Ok(figures.map_or(Wide::Damaged, Wide::There))
}

fn walk(mut directory: impl Read, visit: &mut dyn FnMut(Entry)) -> io::Result<Reading> {
    loop {
        let entry = take(&mut directory, ENTRY_BYTES)?;
        if entry.is_empty() {
            return Ok(Reading::Whole);
        }
        let lengths = (u16_at(&entry, 28), u16_at(&entry, 30), u16_at(&entry, 32));
        let (Some(name), Some(extra), Some(comment)) = lengths else {
            return Ok(Reading::Unclear);
        };
        let n_name = usize::from(name);
        let name = take(&mut directory, n_name)?;
        let (n_extra, n_comment) = (usize::from(extra), usize::from(comment));
        let extra = take(&mut directory, n_extra)?;
        let is_whole = name.len() == n_name
            && extra.len() == n_extra
            && take(&mut directory, n_comment)?.len() == n_comment;
        let record = record(&entry, &name, &extra);
        match record.filter(|_| entry.starts_with(ENTRY) && is_whole) {
            Some(record) => visit(record),
            None => return Ok(Reading::Unclear),
        }
    }
}

/// What an entry says; figures that do not fit it stand in its extra field (APPNOTE.TXT of PKWARE, 4.5.3).
fn record(entry: &[u8], name: &[u8], extra: &[u8]) -> Option<Entry> {
    const WIDE: u16 = 1;
    let mut rest = extra;
    let mut wide: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let Some(body) = rest.get(4..4 + usize::from(length)) else { break };
        if id == WIDE {
            // Of two, each reader would take its own.
            if !wide.is_empty() {
                return None;
            }
            wide = body;
        }
        rest = &rest[4 + usize::from(length)..];
    }
    let mut at = 0;
    let mut figure = |place: usize| match u32_at(entry, place)? {
        u32::MAX => {
            at += 8;
            u64_at(wide, at - 8)
        }
        value => Some(u64::from(value)),
    };
    Some(Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        method: u16_at(entry, 10)?,
        checksum: u32_at(entry, 16)?,
        size: figure(24)?,
        packed: figure(20)?,
        header_at: figure(42)?,
        is_folder: u32_at(entry, 38)? & 0x10 != 0 || name.ends_with(b"/"),
    })
}

fn read_at(source: &mut (impl Read + Seek), at: u64, max_bytes: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    source.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// That many bytes, or what is left of them.
fn take(source: &mut impl Read, n_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(n_bytes as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Small archives for tests.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Where the directory's figures stand.
    #[derive(Clone, Copy)]
    pub(in super::super) enum Width {
        Usual,
        Wide,
    }

    /// An archive of empty entries.
    pub(in super::super) fn archive(names: &[&str], width: Width) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(30, 0);
        let start = bytes.len();
        for name in names {
            let mut entry = ENTRY.to_vec();
            entry.resize(ENTRY_BYTES, 0);
            entry[28..30].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            entry[30..32].copy_from_slice(&3u16.to_le_bytes());
            bytes.extend(entry);
            bytes.extend(name.as_bytes());
            bytes.extend(b"xyz");
        }
        let n_bytes = bytes.len() - start;
        let mut end = END.to_vec();
        end.resize(END_BYTES, 0);
        match width {
            Width::Usual => {
                end[12..16].copy_from_slice(&u32::try_from(n_bytes).unwrap().to_le_bytes());
                end[16..20].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
            }
            Width::Wide => {
                end[12..20].fill(0xff);
                let at = bytes.len() as u64;
                let mut wide = WIDE_END.to_vec();
                wide.resize(WIDE_END_BYTES, 0);
                wide[40..48].copy_from_slice(&(n_bytes as u64).to_le_bytes());
                wide[48..56].copy_from_slice(&(start as u64).to_le_bytes());
                bytes.extend(wide);
                let mut locator = LOCATOR.to_vec();
                locator.resize(20, 0);
                locator[8..16].copy_from_slice(&at.to_le_bytes());
                bytes.extend(locator);
            }
        }
        bytes.extend(end);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Width, archive};
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn read(bytes: &[u8]) -> (Reading, Vec<String>) {
        let mut names = Vec::new();
        let reading = entries(&mut Cursor::new(bytes), &mut |entry| names.push(entry.name));
        (reading.unwrap(), names)
    }

    #[test]
    fn names_are_told_in_order() {
        for width in [Width::Usual, Width::Wide] {
            let bytes = archive(&["m/data.pkl", "m/version", "é"], width);
            let (reading, names) = read(&bytes);
            assert_eq!((reading, names.len()), (Reading::Whole, 3));
            assert_eq!(names, ["m/data.pkl", "m/version", "é"]);
            let commented = [&bytes[..], b"a comment"].concat();
            assert_eq!(read(&commented).1.len(), 3, "a comment must not hide the end");
        }
    }

    #[test]
    fn an_archive_without_its_end_is_cut_off() {
        let bytes = archive(&["a", "b"], Width::Usual);
        for n_bytes in [0, 4, 40, bytes.len() - 1] {
            assert_eq!(read(&bytes[..n_bytes]).0, Reading::CutOff, "{n_bytes} bytes");
        }
    }

    #[test]
    fn a_directory_that_is_damaged_or_elsewhere_is_unclear() {
        let good = archive(&["a", "b"], Width::Usual);
        let directory = 30;
        let end = good.len() - END_BYTES;
        for (at, byte) in [(directory, b'X'), (directory + 29, 0xff), (end + 15, 0xf0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(read(&bad).0, Reading::Unclear, "byte {at}");
        }
        let wide = archive(&["a"], Width::Wide);
        let locator = wide.len() - END_BYTES - 20;
        for at in [locator, locator + 15, locator - 56] {
            let mut bad = wide.clone();
            bad[at] ^= 0x40;
            assert_eq!(read(&bad).0, Reading::Unclear, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_there_ends_in_a_panic(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..12),
            wide in any::<bool>(),
            tail in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let width = if wide { Width::Wide } else { Width::Usual };
            let mut bytes = archive(&["m/data.pkl", "m/constants.pkl"], width);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend(tail);
            let _ = read(&bytes);
        }
    }
}

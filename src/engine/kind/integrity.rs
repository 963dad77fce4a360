//! Whether an archive is whole: every record has the bytes that its checksum is of, and all together unpack to no more than
//! is allowed. libtorch checks neither.

use super::zip::{self, Entry, Reading};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

/// The fixed part of what stands before a record's bytes, and how it begins (APPNOTE.TXT of PKWARE, 4.3.7).
const HEADER_BYTES: usize = 30;
const HEADER: &[u8] = b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// What is wrong with an archive, if anything; `most` bytes it may unpack to. A file that is no archive is not looked at.
pub(super) fn check(source: &mut (impl Read + Seek), most: u64) -> io::Result<Option<String>> {
    let mut entries: Vec<Entry> = Vec::new();
    match zip::entries(source, &mut |entry| entries.push(entry))? {
        Reading::Whole => {}
        Reading::CutOff => return Ok(None),
        Reading::Unclear => return Ok(Some("its directory cannot be read".to_owned())),
    }
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    if total > most {
        return Ok(Some(format!("it unpacks to {total} bytes, at most {most} are allowed")));
    }
    let mut names = HashSet::new();
    for entry in &entries {
        if !names.insert(&entry.name) {
            return Ok(Some(format!("it has two records {:?}", entry.name)));
        }
        if let Some(fault) = check_entry(source, entry)? {
            return Ok(Some(format!("its record {:?} {fault}", entry.name)));
        }
    }
    Ok(None)
}

fn check_entry(source: &mut (impl Read + Seek), entry: &Entry) -> io::Result<Option<String>> {
    source.seek(SeekFrom::Start(entry.header_at))?;
    let mut header = [0; HEADER_BYTES];
    if read_all(source, &mut header)? < HEADER_BYTES || !header.starts_with(HEADER) {
        return Ok(Some("does not begin where the directory says".to_owned()));
    }
    let [name, extra] = [26, 28].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
    source.seek(SeekFrom::Current(i64::from(name) + i64::from(extra)))?;
    let packed = source.take(entry.packed);
    let sum = match entry.method {
        STORED if entry.packed != entry.size => None,
        STORED => checksum(packed, entry.size)?,
        // Damaged packing is a wrong sum as well.
        DEFLATED => checksum(DeflateDecoder::new(packed), entry.size).unwrap_or(None),
        method => return Ok(Some(format!("is packed by method {method}, which is not known"))),
    };
    Ok(match sum {
        Some(sum) if sum == entry.checksum => None,
        _ => Some(
            "is damaged, its bytes are not those that its checksum is of: copy or download the file again"
                .to_owned(),
        ),
    })
}

/// The sum of so many bytes; `None` where there are fewer or more.
fn checksum(source: impl Read, size: u64) -> io::Result<Option<u32>> {
    let mut source = source.take(size.saturating_add(1));
    let (mut sum, mut chunk, mut n_bytes) = (Crc::new(), vec![0; CHUNK], 0u64);
    loop {
        let got = match source.read(&mut chunk) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        sum.update(&chunk[..got]);
        n_bytes += got as u64;
    }
    Ok((n_bytes == size).then(|| sum.sum()))
}

fn read_all(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match source.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    const MOST: u64 = 1 << 20;

    /// An archive with these records, packed where wanted.
    fn archive(records: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, data, is_packed) in records {
            let mut sum = Crc::new();
            sum.update(data);
            let packed = if *is_packed {
                let mut encoder =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            } else {
                data.to_vec()
            };
            let method = if *is_packed { DEFLATED } else { STORED };
            let figures = [
                &sum.sum().to_le_bytes()[..],
                &u32::try_from(packed.len()).unwrap().to_le_bytes(),
                &u32::try_from(data.len()).unwrap().to_le_bytes(),
                &u16::try_from(name.len()).unwrap().to_le_bytes(),
                &[0, 0],
            ]
            .concat();
            let at = u32::try_from(bytes.len()).unwrap();
            let method = method.to_le_bytes();
            bytes.extend(
                [HEADER, &[20, 0, 0, 0], &method, &[0; 4], &figures, name.as_bytes(), &packed]
                    .concat(),
            );
            directory.extend(
                [
                    &b"PK\x01\x02\x14\x00\x14\x00\x00\x00"[..],
                    &method,
                    &[0; 4],
                    &figures,
                    &[0; 10],
                    &at.to_le_bytes(),
                    name.as_bytes(),
                ]
                .concat(),
            );
        }
        let at = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let n_bytes = u32::try_from(directory.len()).unwrap().to_le_bytes();
        bytes.extend(directory);
        let count = u16::try_from(records.len()).unwrap().to_le_bytes();
        bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &n_bytes, &at, &[0, 0]].concat());
        bytes
    }

    fn fault(bytes: &[u8]) -> Option<String> {
        check(&mut Cursor::new(bytes), MOST).unwrap()
    }

    #[test]
    fn a_whole_archive_has_no_fault_and_each_changed_byte_of_a_record_is_one() {
        let good = archive(&[("m/data/0", b"0123456789", false), ("m/code", &[7; 300], true)]);
        assert_eq!(fault(&good), None);
        let begins = HEADER_BYTES + "m/data/0".len();
        for at in begins..begins + 10 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let fault = fault(&bad).expect("a changed byte is a fault");
            assert!(fault.starts_with("its record \"m/data/0\" is damaged"), "{fault}");
        }
        let packed = good.windows(6).position(|it| it == b"m/code").unwrap() + 6;
        let mut bad = good.clone();
        bad[packed + 2] ^= 0x10;
        assert!(fault(&bad).unwrap().contains("m/code"));
    }

    #[test]
    fn what_unpacks_to_too_much_is_told_before_it_is_unpacked() {
        let bomb = archive(&[("m/data/0", &vec![0; 2 << 20], true)]);
        assert!(bomb.len() < 1 << 14);
        let expected = "it unpacks to 2097152 bytes, at most 1048576 are allowed";
        assert_eq!(fault(&bomb).as_deref(), Some(expected));
    }

    #[test]
    fn records_of_one_name_and_records_elsewhere_are_faults() {
        let twice = archive(&[("m/a", b"1", false), ("m/a", b"2", false)]);
        assert_eq!(fault(&twice).as_deref(), Some("it has two records \"m/a\""));
        let mut elsewhere = archive(&[("m/a", b"1", false)]);
        elsewhere[0] = b'X';
        assert!(fault(&elsewhere).unwrap().contains("does not begin where"));
        assert_eq!(fault(b"no archive"), None);
    }
}

//! Whether an archive is whole: every record has the bytes that its checksum is of, all together unpack to no more than is
//! allowed, and the tensors lie within the records that are theirs. libtorch checks none of it.

use super::pickle::{self, Indices, Records, Rule};
use super::zip::{self, Entry, Reading};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// The fixed part of what stands before a record's bytes, and how it begins (APPNOTE.TXT of PKWARE, 4.3.7).
const HEADER_BYTES: usize = 30;
const HEADER: &[u8] = b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// The pickles that libtorch reads: what the model holds, and the constants of its code. The records of each lie in a folder
/// of its name.
const PICKLES: &[&str] = &["data", "constants"];
/// How an archive describes its model in formats before constants.pkl.
const OLD_MODEL: &str = "model.json";

/// What is wrong with an archive, if anything; it may unpack to `max_bytes`.
pub(super) fn check(source: &mut (impl Read + Seek), max_bytes: u64) -> io::Result<Option<String>> {
    let mut entries: Vec<Entry> = Vec::new();
    match zip::entries(source, &mut |entry| entries.push(entry))? {
        Reading::Whole => {}
        Reading::CutOff => {
            return Ok(Some("it has no directory, as every zip archive has".to_owned()));
        }
        Reading::Unclear => return Ok(Some("its directory cannot be read".to_owned())),
    }
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    if total > max_bytes {
        return Ok(Some(format!(
            "it unpacks to {total} bytes, at most {max_bytes} are allowed (trial.memory_bytes)"
        )));
    }
    let mut places = HashMap::new();
    for (place, entry) in entries.iter().enumerate() {
        // libtorch finds a record whatever the case of its letters.
        if places.insert(entry.name.to_ascii_lowercase(), place).is_some() {
            return Ok(Some(format!("it has two records {:?}", entry.name)));
        }
        if let Some(fault) = check_entry(source, entry)? {
            return Ok(Some(format!("its record {:?} {fault}", entry.name)));
        }
    }
    check_pickles(source, &entries, &places)
}

/// Whether the tensors lie within their records.
fn check_pickles(
    source: &mut (impl Read + Seek),
    entries: &[Entry],
    places: &HashMap<String, usize>,
) -> io::Result<Option<String>> {
    let top = entries.first().and_then(|it| it.name.split_once('/')).map_or("", |(top, _)| top);
    let top = top.to_ascii_lowercase();
    let find = |name: &str| places.get(&format!("{top}/{name}")).map(|place| &entries[*place]);
    if find(OLD_MODEL).is_some() {
        let text = "it is of a format before 2020, whose tensors are not checked: load it in Python with torch.jit.load and save it again";
        return Ok(Some(text.to_owned()));
    }
    for archive in PICKLES {
        let Some(entry) = find(&format!("{archive}.pkl")) else { continue };
        let refused = |reason: String| Ok(Some(format!("its record {:?} {reason}", entry.name)));
        if entry.size > pickle::MAX_BYTES {
            return refused(format!(
                "has {} bytes, at most {} are read",
                entry.size,
                pickle::MAX_BYTES
            ));
        }
        let folder = format!("{top}/{archive}/");
        let key = |(name, place): (&String, &usize)| {
            Some((name.strip_prefix(&folder)?.to_owned(), entries[*place].size))
        };
        let records: Records = places.iter().filter_map(key).collect();
        let mut bytes = Vec::new();
        open(source, entry)?.map_or(Ok(0), |mut it| it.read_to_end(&mut bytes))?;
        let indices = match pickle::check(&bytes, &records) {
            Ok(indices) => indices,
            Err(refusal) => return refused(refusal.to_string()),
        };
        for it in indices {
            let record = find(&format!("{archive}/{}", it.key));
            let Some(record) = record else { continue };
            if !hold(open(source, record)?, &it)? {
                let text = "holds indices of a sparse tensor that lie outside of it";
                return Ok(Some(format!("its record {:?} {text}", record.name)));
            }
        }
    }
    Ok(None)
}

/// Whether the indices in a record are as they should be.
fn hold(record: Option<Box<dyn Read + '_>>, indices: &Indices) -> io::Result<bool> {
    let Some(mut record) = record else { return Ok(false) };
    let skipped = io::copy(&mut record.by_ref().take(indices.begins_at), &mut io::sink())?;
    if skipped < indices.begins_at {
        return Ok(false);
    }
    let mut record = BufReader::with_capacity(CHUNK, record);
    let (mut last, mut number) = (0, [0; 8]);
    for place in 0..indices.count {
        let number = match indices.width {
            4 => {
                record.read_exact(&mut number[..4])?;
                i64::from(i32::from_le_bytes([number[0], number[1], number[2], number[3]]))
            }
            _ => {
                record.read_exact(&mut number)?;
                i64::from_le_bytes(number)
            }
        };
        let Ok(number) = u64::try_from(number) else { return Ok(false) };
        let fits = match indices.rule {
            Rule::Below(size) => number < size,
            Rule::RisesTo(_) => number >= last && (place > 0 || number == 0),
        };
        if !fits {
            return Ok(false);
        }
        last = number;
    }
    Ok(!matches!(indices.rule, Rule::RisesTo(to) if to != last))
}

/// The bytes of a record, unpacked; `None` where they do not lie where the directory says, or are packed by a method that is
/// not known.
fn open<'a>(
    source: &'a mut (impl Read + Seek),
    entry: &Entry,
) -> io::Result<Option<Box<dyn Read + 'a>>> {
    if !find_bytes(source, entry)? {
        return Ok(None);
    }
    let packed = source.take(entry.packed);
    Ok(match entry.method {
        STORED => Some(Box::new(packed)),
        DEFLATED => Some(Box::new(DeflateDecoder::new(packed).take(entry.size))),
        _ => None,
    })
}

/// Goes to the bytes of a record, if its own header is where the directory says.
pub(in crate::engine) fn find_bytes(
    source: &mut (impl Read + Seek),
    entry: &Entry,
) -> io::Result<bool> {
    source.seek(SeekFrom::Start(entry.header_at))?;
    let mut header = [0; HEADER_BYTES];
    if read_all(source, &mut header)? < HEADER_BYTES || !header.starts_with(HEADER) {
        return Ok(false);
    }
    let [name, extra] = [26, 28].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
    source.seek(SeekFrom::Current(i64::from(name) + i64::from(extra)))?;
    Ok(true)
}

/// What is wrong with a record, if anything.
pub(in crate::engine) fn check_entry(
    source: &mut (impl Read + Seek),
    entry: &Entry,
) -> io::Result<Option<String>> {
    // libtorch reads nothing of a folder, and takes the memory that it has ready for the bytes.
    if entry.is_folder && entry.size > 0 {
        return Ok(Some("is marked as a folder and has bytes".to_owned()));
    }
    if !find_bytes(source, entry)? {
        return Ok(Some("does not begin where the directory says".to_owned()));
    }
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

/// For tests of other files.
#[cfg(test)]
pub(in crate::engine) mod testing {
    use super::*;
    use std::io::Write;
    use std::path::Path;

    /// An archive with these records, packed where wanted.
    pub(in crate::engine) fn archive(records: &[(&str, &[u8], bool)]) -> Vec<u8> {
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

    /// The record of an archive whose name ends like this.
    pub(in super::super) fn record(file: &Path, name: &str) -> Option<Vec<u8>> {
        let mut source = std::fs::File::open(file).ok()?;
        let mut entries = Vec::new();
        zip::entries(&mut source, &mut |entry| entries.push(entry)).unwrap();
        let entry = entries.iter().find(|entry| entry.name.ends_with(&format!("/{name}")))?;
        let mut bytes = Vec::new();
        open(&mut source, entry).unwrap()?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::archive;
    use super::*;
    use std::io::Cursor;

    const MAX_BYTES: u64 = 1 << 20;

    fn fault(bytes: &[u8]) -> Option<String> {
        check(&mut Cursor::new(bytes), MAX_BYTES).unwrap()
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
        let expected =
            "it unpacks to 2097152 bytes, at most 1048576 are allowed (trial.memory_bytes)";
        assert_eq!(fault(&bomb).as_deref(), Some(expected));
    }

    #[test]
    fn records_of_one_name_and_records_elsewhere_are_faults() {
        let twice = archive(&[("m/a", b"1", false), ("m/a", b"2", false)]);
        assert_eq!(fault(&twice).as_deref(), Some("it has two records \"m/a\""));
        let mut elsewhere = archive(&[("m/a", b"1", false)]);
        elsewhere[0] = b'X';
        assert!(fault(&elsewhere).unwrap().contains("does not begin where"));
        assert!(fault(b"no archive").unwrap().contains("no directory"));
        let mut folder = archive(&[("m/a", b"1", false)]);
        let directory = folder.windows(4).position(|it| it == b"PK\x01\x02").unwrap();
        folder[directory + 38] = 0x10;
        let expected = "its record \"m/a\" is marked as a folder and has bytes";
        assert_eq!(fault(&folder).as_deref(), Some(expected));
        let twice = archive(&[("m/data.pkl", b"1", false), ("m/DATA.pkl", b"2", false)]);
        assert_eq!(fault(&twice).as_deref(), Some("it has two records \"m/DATA.pkl\""));
    }
}

//! The folder of captured requests: files of lines, a new one when the last is full, the oldest removed.

use crate::telemetry::written_moment;
use rustix::fs::statvfs;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// Bytes of a file, where there may be several of that size.
const FILE_BYTES: u64 = 64 << 20;
/// There are at least so many files before the oldest goes.
const MIN_FILES: u64 = 4;
/// The part of the disk that is left to others.
const FREE_PART: u64 = 10;
/// After so many bytes it is looked again how much of the disk is free.
const FREE_BYTES: u64 = 1 << 20;
/// How long an answer to how much is free holds otherwise, in seconds.
const FREE_HOLDS: u64 = 1;
const START: &str = "capture-";
const END: &str = ".jsonl";

/// Where requests are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes of all files.
    pub max_bytes: u64,
}

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    options: FileOptions,
    current: Option<Current>,
    /// Bytes of all other files.
    others: u64,
    /// When somebody looked how much of the disk is free.
    looked: Option<Instant>,
    /// Bytes that were written since.
    since_looked: u64,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
}

impl FileOptions {
    /// Makes the folder, for its owner alone, if it is not there.
    pub(super) fn open(self) -> io::Result<Files> {
        let folder = &self.folder;
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("capture.folder {}: {error}", folder.display()))
        };
        make_folder(folder).map_err(named)?;
        // Better now than with the first request.
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
            .map_err(|error| named(error.into()))?;
        let others = kept(folder).map_err(named)?.iter().map(|(_, bytes)| bytes).sum();
        Ok(Files { options: self, current: None, others, looked: None, since_looked: 0 })
    }

    /// Bytes after which a file is full.
    fn file_bytes(&self) -> u64 {
        FILE_BYTES.min(self.max_bytes / MIN_FILES).max(1)
    }
}

impl Files {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.others + self.current.as_ref().map_or(0, |current| current.bytes)
    }

    /// Writes whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let len = lines.len() as u64;
        self.check_free(len)?;
        let limit = self.options.file_bytes();
        let is_full = |current: &Current| current.bytes > 0 && current.bytes + len > limit;
        if self.current.as_ref().is_some_and(is_full) {
            self.others += self.current.take().map_or(0, |current| current.bytes);
        }
        if self.current.is_none() {
            self.make_room(limit.max(len))?;
            self.current = Some(Current { file: create(&self.options.folder)?, bytes: 0 });
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(error) = current.file.write_all(lines) {
            // Half of a line would spoil the next one.
            if current.file.set_len(current.bytes).is_err() {
                self.others += current.bytes;
                self.current = None;
            }
            return Err(error);
        }
        current.bytes += len;
        Ok(())
    }

    /// Removes the oldest files until so many bytes have room. The folder is read each time: others may write to it.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let mut files = kept(&self.options.folder)?;
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (path, len) in files {
            if total + bytes <= self.options.max_bytes {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= len,
            }
        }
        self.others = total;
        Ok(())
    }

    /// Whether enough of the disk is left for others.
    fn check_free(&mut self, len: u64) -> io::Result<()> {
        self.since_looked += len;
        let holds = self.looked.is_some_and(|at| at.elapsed().as_secs() < FREE_HOLDS);
        if holds && self.since_looked < FREE_BYTES {
            return Ok(());
        }
        // Somebody may have removed the file: what is written to it then is nowhere.
        let is_gone = |it: &Current| it.file.metadata().is_ok_and(|found| found.nlink() == 0);
        if self.current.as_ref().is_some_and(is_gone) {
            self.current = None;
        }
        make_folder(&self.options.folder)?;
        let disk = statvfs(&self.options.folder)?;
        if disk.f_bavail < disk.f_blocks / FREE_PART {
            let percent = 100 * disk.f_bavail / disk.f_blocks.max(1);
            let text = format!(
                "{percent} % of the disk of {} are free, below {} % nothing is written",
                self.options.folder.display(),
                100 / FREE_PART
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        (self.looked, self.since_looked) = (Some(Instant::now()), 0);
        Ok(())
    }
}

/// Makes a folder for its owner alone, unless it is there.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The files of a folder.
pub(super) fn captured(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(kept(folder)?.into_iter().map(|(path, _)| path).collect())
}

/// All files of the folder with their bytes.
fn kept(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_one =
            name.to_str().is_some_and(|name| name.starts_with(START) && name.ends_with(END));
        // One that another server has just removed is none.
        if let (true, Ok(found)) = (is_one, entry.metadata())
            && found.is_file()
        {
            files.push((entry.path(), found.len()));
        }
    }
    Ok(files)
}

/// A new file, whose name says when it was begun; those of one moment have numbers.
fn create(folder: &Path) -> io::Result<File> {
    let moment: String = written_moment(SystemTime::now())
        .chars()
        .filter(|letter| !matches!(letter, '-' | ':'))
        .collect();
    let mut options = File::options();
    options.append(true).create_new(true).mode(0o600);
    for number in 0..1000 {
        match options.open(folder.join(format!("{START}{moment}-{number:03}{END}"))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened,
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "all names of this moment are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn files(max_bytes: u64) -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let options = FileOptions { folder: folder.path().join("a/b"), max_bytes };
        let files = options.open().unwrap();
        (folder, files)
    }

    fn names(files: &Files) -> Vec<String> {
        let all = kept(&files.options.folder).unwrap().into_iter();
        let mut names: Vec<_> =
            all.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_turn_and_the_oldest_go() {
        let (_folder, mut files) = files(400);
        for _ in 0..40 {
            files.append(&[b'x'; 30]).unwrap();
            assert!(files.bytes() <= 400, "{}", files.bytes());
        }
        let names = names(&files);
        assert_eq!((names.len(), files.bytes()), (4, 90 * 3 + 30));
        // What another server wrote counts, and goes when it is the oldest.
        let other = files.options.folder.join("capture-20000101T000000.000Z-000.jsonl");
        fs::write(&other, [b'y'; 300]).unwrap();
        fs::write(files.options.folder.join("notes.txt"), [b'y'; 300]).unwrap();
        files.append(&[b'x'; 90]).unwrap();
        assert!(!other.exists() && files.options.folder.join("notes.txt").exists());
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let (_folder, mut files) = files(400);
        files.append(b"{}\n").unwrap();
        let folder = files.options.folder.clone();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join(&names(&files)[0])), 0o600);
        // A start goes on beside what is there.
        let again = files.options.clone().open().unwrap();
        assert_eq!(again.bytes(), 3);
    }

    #[test]
    fn what_somebody_removes_is_begun_anew() {
        let (_folder, mut files) = files(400);
        files.append(b"{}\n").unwrap();
        for folder_goes in [false, true] {
            let folder = files.options.folder.clone();
            for (file, _) in kept(&folder).unwrap() {
                fs::remove_file(file).unwrap();
            }
            if folder_goes {
                fs::remove_dir(&folder).unwrap();
            }
            // As after a second.
            files.looked = None;
            files.append(b"[]\n").unwrap();
            assert_eq!((names(&files).len(), files.bytes()), (1, 3));
        }
    }

    #[test]
    fn more_than_a_file_holds_is_written_all_the_same() {
        let (_folder, mut files) = files(40);
        files.append(&[b'x'; 30]).unwrap();
        files.append(&[b'x'; 35]).unwrap();
        assert_eq!(files.bytes(), 35, "and takes the place of all others");
    }
}

//! Small files in the folder of state: read as a whole, written as a whole or not at all.

use crate::engine::open_plain;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a state file: a plain one that lies there itself, of at most so many bytes.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    open_plain(path, libc::O_NOFOLLOW)?.take(max_bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// Removes drafts of processes that are gone: those were ended while they wrote.
pub(super) fn remove_drafts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_suffix(".tmp")?.rsplit_once('.'));
        let process = process.and_then(|(_, id)| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a whole file or none: a reader never sees half of it.
pub(super) fn write(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // The process id keeps two servers with one folder out of each other's half-written files.
    let draft = folder.join(format!("{name}.{}.tmp", std::process::id()));
    // Whatever lies in its place, a pipe perhaps, is nobody's.
    let _ = fs::remove_file(&draft);
    let mut options = fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.custom_flags(libc::O_NOFOLLOW).open(&draft)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&draft, folder.join(name))).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
    })
}

//! Notices another server with the same folder of state.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The file that is locked in it.
const FILE: &str = "lock";

/// Marks a folder of state as in use, for as long as the file is held; `None` where another process has it, or locks are not to be
/// had there.
///
/// Two servers serve all the same, since one may be replacing the other; but each writes down what it decides over what the other
/// did, and so whoever reads the log should know.
pub(super) fn mark(state_dir: &Path) -> Option<File> {
    match try_lock(state_dir) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let folder = state_dir.display();
            tracing::warn!(
                "another process has the folder of state {folder}: what one of them decides may be overwritten by the other"
            );
            None
        }
        // A folder that cannot be written is told of where something is to be kept.
        Err(error) => {
            tracing::debug!(%error, "the folder of state cannot be marked as in use");
            None
        }
    }
}

fn try_lock(state_dir: &Path) -> io::Result<File> {
    fs::create_dir_all(state_dir)?;
    // A pipe would be waited for, for ever.
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = open(state_dir.join(FILE), flags, Mode::from_raw_mode(0o644))?;
    let file = File::from(file);
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_folder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = mark(&state);
        assert!(first.is_some());
        assert_eq!(try_lock(&state).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(mark(&state).is_some(), "it is free again with its holder");
        fs::write(folder.path().join("plain"), "").unwrap();
        assert!(mark(&folder.path().join("plain")).is_none());
        let pipe = folder.path().join("pipe");
        fs::create_dir(&pipe).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe.join(FILE), Mode::from_raw_mode(0o600)).unwrap();
        assert!(mark(&pipe).is_none(), "nobody reads from it, and nobody waits for that");
    }
}

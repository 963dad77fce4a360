//! Requests as bytes, ready to be written: head and body in one piece.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// More would be a mistake in the path rather than a set of bodies.
const MAX_BODIES: usize = 100_000;

pub(crate) struct Requests {
    bytes: Vec<Vec<u8>>,
    names: Vec<String>,
    body_bytes: u64,
}

impl Requests {
    /// `head` lacks the length of the body only.
    pub(crate) fn read(bodies: &Path, head: &str) -> Result<Self, Error> {
        let files = files(bodies)?;
        let mut requests = Self { bytes: Vec::new(), names: Vec::new(), body_bytes: 0 };
        for file in files {
            let body = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let mut request = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
            request.extend_from_slice(&body);
            requests.body_bytes += body.len() as u64;
            requests.bytes.push(request);
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            requests.names.push(stem.unwrap_or_default());
        }
        Ok(requests)
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn get(&self, body: usize) -> &[u8] {
        &self.bytes[body]
    }

    pub(crate) fn name(&self, body: usize) -> &str {
        &self.names[body]
    }

    pub(crate) fn mean_body_bytes(&self) -> u64 {
        self.body_bytes / self.bytes.len() as u64
    }
}

/// The files of a folder by name, or the one file.
fn files(bodies: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| format!("{}: {error}", bodies.display());
    if bodies.is_file() {
        return Ok(vec![bodies.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(bodies).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_BODIES {
            return Err(format!("{}: more than {MAX_BODIES} files", bodies.display()).into());
        }
    }
    if files.is_empty() {
        return Err(format!("{}: no file to send", bodies.display()).into());
    }
    files.sort();
    Ok(files)
}

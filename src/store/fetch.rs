//! One object into one file: from where an earlier try ended, with its digest on the way.

use super::connect::Remote;
use super::error::StoreError;
use super::folders::{delete, disk};
use super::listing::{Object, identity};
use futures_util::StreamExt;
use object_store::{GetOptions, GetRange, GetResult};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of what is already here that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the part of an object's file is called: another content of the same object has another.
pub(super) fn part_name(object: &Object) -> String {
    let text = format!("{}\n{}\n{}", object.key, object.identity, object.size);
    format!("{}.part", &hex(&Sha256::digest(text.as_bytes()))[..32])
}

/// A file that grows.
struct Part<'a> {
    path: &'a Path,
    file: File,
    digest: Sha256,
    have: u64,
}

impl<'a> Part<'a> {
    /// Opens it and takes the digest of what it has.
    fn open(path: &'a Path, max_bytes: u64) -> Result<Self, StoreError> {
        let open = || {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            if file.metadata()?.len() > max_bytes {
                file.set_len(0)?;
            }
            let (mut digest, mut have) = (Sha256::new(), 0);
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    n => {
                        digest.update(&buffer[..n]);
                        have += n as u64;
                    }
                }
            }
            Ok((file, digest, have))
        };
        let (file, digest, have) = open().map_err(disk(path))?;
        Ok(Self { path, file, digest, have })
    }

    fn start_over(&mut self) -> Result<(), StoreError> {
        self.digest = Sha256::new();
        self.have = 0;
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(drop).map_err(disk(self.path))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(disk(self.path))?;
        self.digest.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<String> {
        self.file.sync_all()?;
        Ok(hex(&self.digest.finalize()))
    }
}

/// Brings an object into a part; says its SHA-256. What came before an error stays there for the next try.
pub(super) async fn fetch(
    remote: &Remote,
    object: &Object,
    path: &Path,
    counted: &AtomicU64,
) -> Result<String, StoreError> {
    let mut part = Part::open(path, object.size)?;
    if part.have < object.size {
        let result = ask(remote, object, &mut part).await?;
        if identity(&result.meta) != object.identity || result.meta.size != object.size {
            delete(path)?;
            return Err(other(object, "it changed in the store after it was listed"));
        }
        let mut chunks = result.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| remote.fault(&error))?;
            counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            part.add(&chunk)?;
            if part.have > object.size {
                delete(path)?;
                return Err(other(object, "more came than the store says that it has"));
            }
        }
        if part.have < object.size {
            let (have, size) = (part.have, object.size);
            return Err(StoreError::Store(format!(
                "the store ended {:?} after {have} of {size} bytes",
                object.key
            )));
        }
    }
    part.finish().map_err(disk(path))
}

/// Asks for what is missing, or for all of it where the store cannot give a part.
async fn ask(
    remote: &Remote,
    object: &Object,
    part: &mut Part<'_>,
) -> Result<GetResult, StoreError> {
    let get = |range| {
        let options = GetOptions { range, ..GetOptions::default() };
        remote.store.get_opts(&object.location, options)
    };
    if part.have > 0
        && let Ok(result) = get(Some(GetRange::Offset(part.have))).await
    {
        return Ok(result);
    }
    let result = get(None).await.map_err(|error| remote.fault(&error))?;
    part.start_over()?;
    Ok(result)
}

fn other(object: &Object, reason: &str) -> StoreError {
    StoreError::Object { key: object.key.clone(), reason: reason.to_owned() }
}

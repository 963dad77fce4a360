//! The key by which the server knows its own words again.
//!
//! It lies in the state folder, made at the first start: 32 random bytes in a plain file that is this user's and nobody else
//! may read or write. A key that others could know, or could have put there, seals nothing: then nothing is kept.

use super::fingerprint::hex;
use crate::engine::open_plain;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const FILE: &str = "key";
const KEY_BYTES: usize = 32;
/// What group and others may.
const OF_OTHERS: u32 = 0o077;

type SecretBytes = [u8; KEY_BYTES];

/// Seals texts, with a key that is looked for when it is first needed.
#[derive(Debug)]
pub(super) struct Seal {
    folder: Option<PathBuf>,
    key: Mutex<Option<Result<Secret, String>>>,
}

/// A key that no log shows.
struct Secret(SecretBytes);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Seal {
    /// A seal whose key lies in this folder.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), key: Mutex::default() }
    }

    /// A text with its code behind it.
    pub(super) fn close(&self, name: &str, text: String) -> io::Result<String> {
        let code = self.code(name, &text).map_err(io::Error::other)?;
        Ok(format!("{text}\n{}\n", hex(&code.finalize().into_bytes())))
    }

    /// The text without its code, if that is the right one.
    pub(super) fn open<'a>(&self, name: &str, sealed: &'a str) -> Option<&'a str> {
        let (text, code) = sealed.strip_suffix('\n')?.rsplit_once('\n')?;
        // Compared in constant time.
        self.code(name, text).ok()?.verify_slice(&bytes(code)?).ok()?;
        Some(text)
    }

    fn code(&self, name: &str, text: &str) -> Result<Hmac<Sha256>, String> {
        // What a panic may have left is a key or none.
        let mut found = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.get_or_insert_with(|| self.find().map(Secret));
        let key = found.as_ref().map_err(Clone::clone)?;
        let mut code = Hmac::<Sha256>::new_from_slice(&key.0).map_err(|it| it.to_string())?;
        // A name has no line break.
        for part in [name, "\n", text] {
            code.update(part.as_bytes());
        }
        Ok(code)
    }

    /// The key that is there, or a new one.
    fn find(&self) -> Result<SecretBytes, String> {
        let folder = self.folder.as_ref().ok_or("there is no folder for a key")?;
        let file = folder.join(FILE);
        let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        match read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Another server with this folder may have been faster: its key is as good.
                match make(folder, &file) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        Err(explain(&error))
                    }
                    _ => read(&file).map_err(|error| explain(&error)),
                }
            }
            read => read.map_err(|error| explain(&error)),
        }
    }
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn read(path: &Path) -> io::Result<SecretBytes> {
    let mut file = open_plain(path, libc::O_NOFOLLOW)?;
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || !is_ours || metadata.mode() & OF_OTHERS != 0 {
        let text = "the key is no plain file of this user alone: remove it, and every model is tried again";
        return Err(io::Error::other(text));
    }
    let mut key = [0; KEY_BYTES];
    file.read_exact(&mut key)?;
    Ok(key)
}

/// Makes a key, whole or not at all.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let draft = folder.join(format!("{FILE}.{}.tmp", std::process::id()));
    // What an earlier process of this number left behind.
    let _ = fs::remove_file(&draft);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    // A link fails where there is a key already, a rename would replace it.
    let made = file.write_all(&key).and_then(|()| file.sync_all());
    let made = made.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn seal(folder: &Path) -> Seal {
        Seal::new(Some(folder))
    }

    #[test]
    fn a_key_is_made_once_and_is_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = seal(folder.path()).close("a", "text".into()).unwrap();
        assert_eq!(seal(folder.path()).open("a", &sealed), Some("text"));
        assert_eq!(seal(folder.path()).open("b", &sealed), None);
        let metadata = fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 32));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_others_may_know_seals_nothing() {
        for mode in [0o620, 0o602, 0o640, 0o604] {
            let folder = tempfile::tempdir().unwrap();
            let sealed = seal(folder.path()).close("a", "text".into()).unwrap();
            let file = folder.path().join(FILE);
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(seal(folder.path()).open("a", &sealed), None, "{mode:o}");
            let error = seal(folder.path()).close("a", "text".into()).unwrap_err();
            assert!(error.to_string().contains("of this user alone"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(folder.path().join("elsewhere"), [7; KEY_BYTES]).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert!(seal(folder.path()).close("a", "text".into()).is_err(), "a link is not followed");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(seal(folder.path()).close("a", "text".into()).is_err(), "a folder is no key");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "short").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(seal(folder.path()).close("a", "text".into()).is_err(), "half a key is none");
        assert!(Seal::new(None).close("a", "text".into()).is_err());
    }
}

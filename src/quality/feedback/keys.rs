//! The secrets that sign tokens.
//!
//! All replicas have the same file: one key a line, of which the first signs and all are believed. So keys are changed without a
//! label being lost: the new one is put below the others on every replica, and then above them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

/// How much of a code is kept.
pub(super) const MAC_BYTES: usize = 12;
/// What a key makes of a message.
pub(super) type Mac = [u8; MAC_BYTES];

/// Shortest key, in characters.
const MIN_CHARACTERS: usize = 32;
/// Most keys of a file.
const MAX_KEYS: usize = 16;
/// Longest file.
pub(super) const MAX_BYTES: u64 = 64 << 10;

/// The keys, the one that signs first.
#[derive(Clone)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    /// Says in a token which key it may be; the first byte of a digest, so that nobody has to give keys names.
    id: u8,
    keyed: Hmac<Sha256>,
}

/// No log shows a key.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Keys {
    /// One that nobody else knows: tokens are then good for as long as this process lives.
    pub(super) fn random() -> io::Result<Self> {
        let mut key = [0; MIN_CHARACTERS];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self(vec![Key::new(&key)]))
    }

    /// Those of a file.
    ///
    /// # Errors
    ///
    /// A key is short, or there is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut parsed = Vec::new();
        for (idx, key) in keys {
            let n = key.chars().count();
            if n < MIN_CHARACTERS {
                let number = idx + 1;
                return Err(format!(
                    "line {number}: a key of {n} characters, expected at least {MIN_CHARACTERS}"
                ));
            }
            parsed.push(Key::new(key.as_bytes()));
        }
        if parsed.is_empty() || parsed.len() > MAX_KEYS {
            return Err(format!(
                "{} keys, expected 1 to {MAX_KEYS}, one a line, of which the first signs",
                parsed.len()
            ));
        }
        Ok(Self(parsed))
    }

    /// The id of the key that signs, and what it makes of a message that names it.
    pub(super) fn signing(&self) -> (u8, impl Fn(&[u8]) -> Mac) {
        let Key { id, keyed } = &self.0[0];
        (*id, move |message: &[u8]| {
            let code = keyed.clone().chain_update(message).finalize().into_bytes();
            std::array::from_fn(|place| code[place])
        })
    }

    /// Whether one of the keys with this id made the code. Compared in constant time.
    pub(super) fn verifies(&self, id: u8, message: &[u8], code: &[u8; MAC_BYTES]) -> bool {
        self.0
            .iter()
            .filter(|key| key.id == id)
            .any(|key| key.keyed.clone().chain_update(message).verify_truncated_left(code).is_ok())
    }
}

impl Key {
    fn new(key: &[u8]) -> Self {
        let id = Sha256::digest(key)[0];
        Self { id, keyed: Hmac::new_from_slice(key).expect("HMAC takes keys of any length") }
    }
}

//! What an answer was, signed, for its caller to send back with the truth: so any replica can count it, and none remembers it.
//!
//! | bytes | what |
//! |---:|---|
//! | 1 | 1 for classes, 2 for numbers |
//! | 1 | which key |
//! | 4 | when it was answered, in seconds since 1970 |
//! | 6 | the start of the SHA-256 of model, version, model file and labels |
//! | 6 | a number of its own |
//! | 1 | rows, less one |
//! | 6 or 4 a row | class (2) and score (4), or the number (4) |
//! | 12 | the start of an HMAC-SHA-256 of all that |
//!
//! The class of a row whose scores were no numbers is 65,535. Numbers are big-endian; the whole is written in the letters of base64url (RFC 4648, 5), without padding. It holds what the
//! answer showed: no inputs, and nobody's name.

use super::keys::{Keys, MAC_BYTES, Mac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Most rows of a token: of larger answers there is none.
pub const MAX_ROWS: usize = 256;
/// Stands for the class of a row that got none.
pub(super) const NO_CLASS: u16 = u16::MAX;
const CLASSES: u8 = 1;
const NUMBERS: u8 = 2;
const HEAD_BYTES: usize = 19;
const CLASS_BYTES: usize = 6;
const NUMBER_BYTES: usize = 4;

/// Model, version and file.
pub(super) type Subject = [u8; 6];

/// Which model, version and file are meant, with the labels that its classes had: a token knows a class by its place.
pub(super) fn subject(model: &str, version: u64, digest: &str, labels: &[Arc<str>]) -> Subject {
    let mut hash = Sha256::new()
        .chain_update(model)
        .chain_update([0])
        .chain_update(version.to_be_bytes())
        .chain_update(digest);
    for label in labels {
        hash.update([0]);
        hash.update(&**label);
    }
    let whole = hash.finalize();
    std::array::from_fn(|place| whole[place])
}

/// What each row was answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answers {
    /// A class and its score.
    Classes(Vec<(u16, f32)>),
    /// A number.
    Numbers(Vec<f32>),
}

impl Answers {
    pub(super) fn n_rows(&self) -> usize {
        match self {
            Self::Classes(rows) => rows.len(),
            Self::Numbers(rows) => rows.len(),
        }
    }
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// When, in seconds since 1970.
    pub(super) time: u32,
    pub(super) subject: Subject,
    /// So that no two are the same.
    pub(super) nonce: [u8; 6],
    pub(super) answers: Answers,
}

impl Token {
    /// Signs it; `None` without rows, or with too many.
    pub(super) fn sign(&self, keys: &Keys) -> Option<String> {
        let n_rows = self.answers.n_rows();
        let rows = u8::try_from(n_rows.checked_sub(1)?).ok()?;
        let (id, sign) = keys.signing();
        let kind = match &self.answers {
            Answers::Classes(_) => CLASSES,
            Answers::Numbers(_) => NUMBERS,
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + CLASS_BYTES * n_rows + MAC_BYTES);
        bytes.extend([kind, id]);
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.subject);
        bytes.extend(self.nonce);
        bytes.push(rows);
        match &self.answers {
            Answers::Classes(rows) => rows.iter().for_each(|(class, score)| {
                bytes.extend(class.to_be_bytes());
                bytes.extend(score.to_be_bytes());
            }),
            Answers::Numbers(rows) => {
                rows.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
            }
        }
        bytes.extend(sign(&bytes));
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads one that was signed with a known key, and its code.
    ///
    /// # Errors
    ///
    /// It was not, or somebody changed it.
    pub(super) fn read(text: &str, keys: &Keys) -> Result<(Self, Mac), &'static str> {
        const LONGEST: usize = (HEAD_BYTES + CLASS_BYTES * MAX_ROWS + MAC_BYTES).div_ceil(3) * 4;
        if text.len() > LONGEST {
            return Err("the token is longer than any that was given out");
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "the token is no base64url")?;
        let (message, code) =
            bytes.split_last_chunk::<MAC_BYTES>().ok_or("the token is cut short")?;
        let (head, rows) =
            message.split_first_chunk::<HEAD_BYTES>().ok_or("the token is cut short")?;
        if !keys.verifies(head[1], message, code) {
            return Err("the token was not signed with a key of this server, or was changed");
        }
        // From here on it is as it was made.
        let answers = match head[0] {
            CLASSES => Answers::Classes(
                rows.as_chunks::<CLASS_BYTES>().0.iter().map(|row| class(*row)).collect(),
            ),
            NUMBERS => Answers::Numbers(
                rows.as_chunks::<NUMBER_BYTES>()
                    .0
                    .iter()
                    .map(|row| f32::from_be_bytes(*row))
                    .collect(),
            ),
            _ => return Err("the token is of another version of the server"),
        };
        let [_, _, t0, t1, t2, t3, s0, s1, s2, s3, s4, s5, n0, n1, n2, n3, n4, n5, _] = *head;
        let token = Self {
            time: u32::from_be_bytes([t0, t1, t2, t3]),
            subject: [s0, s1, s2, s3, s4, s5],
            nonce: [n0, n1, n2, n3, n4, n5],
            answers,
        };
        Ok((token, *code))
    }
}

fn class(row: [u8; CLASS_BYTES]) -> (u16, f32) {
    let [a, b, c, d, e, f] = row;
    (u16::from_be_bytes([a, b]), f32::from_be_bytes([c, d, e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::parse(text).unwrap()
    }

    const OLD: &str = "the old key, of thirty-two characters";
    const NEW: &str = "a new key that has as many characters";

    fn token(answers: Answers) -> Token {
        Token { time: 1_700_000_000, subject: subject("m", 7, "ab", &[]), nonce: [1; 6], answers }
    }

    #[test]
    fn what_was_signed_is_read_as_it_was_and_nothing_else_is() {
        let keys = keys(OLD);
        for answers in [
            Answers::Classes(vec![(3, 0.25)]),
            Answers::Classes((0..256).map(|row| (row, f32::NAN)).collect()),
            Answers::Numbers(vec![-1.5, f32::MAX]),
        ] {
            let token = token(answers);
            let text = token.sign(&keys).unwrap();
            let (read, _) = Token::read(&text, &keys).unwrap();
            assert_eq!(format!("{read:?}"), format!("{token:?}"));
            for place in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                // The last letter has bits that say nothing; a decoder refuses all but one spelling.
                assert!(Token::read(&changed, &keys).is_err(), "letter {place} of {text}");
                assert!(Token::read(&text[..place], &keys).is_err(), "cut at {place}");
            }
        }
        assert_eq!(token(Answers::Classes(vec![(3, 0.25)])).sign(&keys).unwrap().len(), 50);
        assert_eq!(token(Answers::Numbers(vec![])).sign(&keys), None);
        assert_eq!(token(Answers::Numbers(vec![0.0; 257])).sign(&keys), None);
        for odd in ["", "A", "%%%", "====", &"A".repeat(4000), "\u{e4}"] {
            assert!(Token::read(odd, &keys).is_err(), "{odd:.20}");
        }
    }

    #[test]
    fn keys_change_without_a_gap() {
        let token = token(Answers::Numbers(vec![1.0]));
        let files = [OLD.to_owned(), format!("{OLD}\n{NEW}"), format!("# now\n\n{NEW}\n{OLD}\n")];
        let signed = files.each_ref().map(|file| token.sign(&keys(file)).unwrap());
        // Replicas are one step apart at the most.
        for (signer, reader) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 2)] {
            assert!(Token::read(&signed[signer], &keys(&files[reader])).is_ok());
        }
        assert!(Token::read(&signed[2], &keys(OLD)).is_err());
        assert!(Token::read(&signed[0], &Keys::random().unwrap()).is_err());
        let short = Keys::parse("\nshort").unwrap_err();
        assert_eq!(short, "line 2: a key of 5 characters, expected at least 32");
        assert!(Keys::parse("# nothing\n").unwrap_err().starts_with("0 keys"));
        assert!(Keys::parse(&format!("{OLD}\n").repeat(17)).is_err());
    }
}

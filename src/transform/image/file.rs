//! What a client sends as an image: a file as it is, its base64, or a data URL of it.

use crate::inference::{Content, InferError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// How the files of the formats begin that can be read.
const MAGIC: [&[u8]; 3] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"];

/// The bytes of the file. No file that can be read is base64 by itself: the first byte of two formats is none of its
/// characters, and the third has a space within the first sixteen.
pub(super) fn bytes_of<'b>(bytes: &'b [u8], what: &str) -> Result<Cow<'b, [u8]>, InferError> {
    if MAGIC.iter().any(|magic| bytes.starts_with(magic)) && !is_other_riff(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let text = match bytes.strip_prefix(b"data:") {
        Some(url) => {
            let comma = url.iter().position(|byte| *byte == b',');
            let split = comma.map(|comma| (&url[..comma], &url[comma + 1..]));
            let data = split.filter(|(kind, _)| kind.ends_with(b";base64")).map(|(_, data)| data);
            data.ok_or_else(|| {
                unreadable(what, "a data URL without base64", "data:image/png;base64,…")
            })?
        }
        None => bytes,
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    if text.is_empty() || !text.iter().all(is_base64) {
        return Ok(Cow::Borrowed(bytes));
    }
    let text: Vec<u8> = text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    let decoded = STANDARD.decode(&text).map_err(|error| {
        unreadable(
            what,
            &format!("base64 that cannot be read ({error})"),
            "an image file in base64",
        )
    })?;
    Ok(Cow::Owned(decoded))
}

/// Whether it begins as a file of sound does, or as base64 may.
fn is_other_riff(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) != Some(b"WEBP")
}

/// The report of something that is no image.
pub(super) fn unreadable(what: &str, got: &str, expected: &str) -> InferError {
    let message = format!("{what} is {got}, expected {expected}");
    InferError::invalid_input(Content::Image.name(), message).with_mismatch(expected, got)
}

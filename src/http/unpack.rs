//! Packed bodies: which codings a request names, and taking them off.
//!
//! Pure: what is given is a whole body, and what comes out is bounded at each step, so that a small body
//! which unpacks to a large one is given up where it passes the limit.

use crate::inference::{ByteLease, ErrorCode, InferError};
use crate::tensor::{Buffer, BufferVec};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// The codings that are understood, as the header `Accept-Encoding` lists them.
pub(super) const UNDERSTOOD: &str = "gzip, deflate";

/// Codings of one body, one over another. Nobody needs two; each takes memory of its own.
const MAX_CODINGS: usize = 4;

/// Gzip members of one body. An empty one takes 18 bytes and some microseconds.
const MAX_MEMBERS: usize = 4096;

/// How much is unpacked between two looks at the limits.
const STEP: usize = 32 * 1024;

/// The most of a client's words that is repeated to it.
const MAX_ECHO: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// The zlib format, which HTTP calls by the name of what is inside (RFC 9110, section 8.4.1.2).
    Deflate,
}

/// The codings of a body, the one that was put on first at the front.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Codings(Vec<Coding>);

impl Codings {
    /// What the head of a request says (RFC 9110, section 8.4).
    ///
    /// # Errors
    ///
    /// `unsupported_media_type` for a coding that is not understood, or too many.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, InferError> {
        let mut codings = Vec::new();
        for line in headers.get_all(CONTENT_ENCODING) {
            let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
            for name in line.split(',').map(|name| name.trim_matches([' ', '\t'])) {
                match name {
                    "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                    "deflate" => codings.push(Coding::Deflate),
                    // Not a coding but the word for none; an empty place in a list is to be ignored.
                    "identity" | "" => {}
                    other => return Err(not_understood(other)),
                }
            }
        }
        if codings.len() > MAX_CODINGS {
            let message = format!("the body is packed more than {MAX_CODINGS} times");
            return Err(InferError::new(ErrorCode::UnsupportedMediaType, message));
        }
        Ok(Self(codings))
    }

    /// Whether the body is as it is.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

fn not_understood(name: &str) -> InferError {
    let got: String = name.chars().take(MAX_ECHO).collect();
    let expected = "gzip or deflate";
    let message = format!("the content coding {got:?} is not supported, expected {expected}");
    InferError::new(ErrorCode::UnsupportedMediaType, message).with_mismatch(expected, got)
}

/// A body on its way out of its codings.
pub(super) struct Unpacking {
    layers: Box<dyn Read + Send>,
    unpacked: BufferVec<u8>,
}

impl Unpacking {
    /// Begins with a whole body, which unpacks to at most so many bytes.
    pub(super) fn new(codings: &Codings, packed: Buffer, max_bytes: usize) -> Self {
        let room = packed.len().saturating_mul(2).min(max_bytes);
        let mut layers: Box<dyn BufRead + Send> = Box::new(Cursor::new(packed));
        for coding in codings.0.iter().rev() {
            let unpacked: Box<dyn Read + Send> = match coding {
                Coding::Gzip => Box::new(Gzip { member: GzDecoder::new(layers), n_members: 1 }),
                Coding::Deflate => Box::new(Deflate(ZlibDecoder::new(layers))),
            };
            let bounded = Bounded { inner: unpacked, left: max_bytes, max_bytes };
            layers = Box::new(BufReader::with_capacity(STEP, bounded));
        }
        Self { layers, unpacked: BufferVec::with_capacity(room) }
    }

    /// Goes on until there is no more, or so many bytes have come; whether there is no more.
    ///
    /// # Errors
    ///
    /// `invalid_request` for what is not packed as announced, `body_too_large`, and `overloaded`.
    pub(super) fn go_on(
        &mut self,
        until: usize,
        lease: &mut ByteLease,
    ) -> Result<bool, InferError> {
        let mut step = [0; STEP];
        while self.unpacked.len() < until {
            let n_bytes = self.layers.read(&mut step).map_err(report)?;
            if n_bytes == 0 {
                return Ok(true);
            }
            lease.grow(n_bytes)?;
            self.unpacked.extend_from_slice(&step[..n_bytes]);
        }
        Ok(false)
    }

    /// What has come.
    pub(super) fn finish(self) -> Buffer {
        self.unpacked.freeze()
    }
}

/// One gzip member after another: together they are one body (RFC 1952, section 2.2).
struct Gzip<R> {
    member: GzDecoder<R>,
    n_members: usize,
}

impl Read for Gzip<Box<dyn BufRead + Send>> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_bytes = self.member.read(out).map_err(|error| broken(error, "gzip"))?;
            if n_bytes > 0 || out.is_empty() {
                return Ok(n_bytes);
            }
            match self.member.get_mut().fill_buf()? {
                [] => return Ok(0),
                [0x1f] | [0x1f, 0x8b, ..] => {}
                _ => return Err(io::Error::other(bytes_behind("last gzip member"))),
            }
            if self.n_members == MAX_MEMBERS {
                let message = format!("the body has more than {MAX_MEMBERS} gzip members");
                return Err(io::Error::other(InferError::new(ErrorCode::InvalidRequest, message)));
            }
            self.n_members += 1;
            let rest = std::mem::replace(self.member.get_mut(), Box::new(io::empty()));
            self.member = GzDecoder::new(rest);
        }
    }
}

/// One stream in the zlib format, and nothing behind it.
struct Deflate<R>(ZlibDecoder<R>);

impl<R: BufRead> Read for Deflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.0.read(out).map_err(|error| broken(error, "deflate"))?;
        if n_bytes == 0 && !out.is_empty() && !self.0.get_mut().fill_buf()?.is_empty() {
            return Err(io::Error::other(bytes_behind("deflate stream")));
        }
        Ok(n_bytes)
    }
}

/// Gives up where more comes than is allowed.
struct Bounded<R> {
    inner: R,
    left: usize,
    max_bytes: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(out)?;
        let left = self.left.checked_sub(n_bytes);
        self.left = left.ok_or_else(|| io::Error::other(too_large(self.max_bytes)))?;
        Ok(n_bytes)
    }
}

/// A body, or what it unpacks to, that is over the limit.
pub(super) fn too_large(max_bytes: usize) -> InferError {
    let message = format!("the body is larger than {max_bytes} bytes");
    InferError::new(ErrorCode::BodyTooLarge, message)
}

fn bytes_behind(what: &str) -> InferError {
    let message = format!("the body has bytes behind its {what}");
    InferError::new(ErrorCode::InvalidRequest, message)
}

/// What a decoder says of its input. What a layer below has found passes through.
fn broken(error: io::Error, coding: &str) -> io::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<InferError>()) {
        return error;
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the body is cut off: its {coding} stream has no end")
        }
        _ => format!("the body is not {coding}, as its head says, or is damaged"),
    };
    io::Error::other(InferError::new(ErrorCode::InvalidRequest, message))
}

/// The fault that a layer found.
fn report(error: io::Error) -> InferError {
    let inner = error.into_inner().and_then(|inner| inner.downcast::<InferError>().ok());
    inner.map_or_else(
        || InferError::new(ErrorCode::InvalidRequest, "the body cannot be unpacked"),
        |error| *error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ByteBudget;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    const TEXT: &[u8] = b"{\"features\": [1, 2, 3, 4]}";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_ENCODING, line.parse().unwrap());
        }
        headers
    }

    /// Unpacks within so many bytes; what was booked in the end is what came out.
    fn unpack(lines: &[&'static str], packed: &[u8], max: usize) -> Result<Vec<u8>, InferError> {
        let budget = ByteBudget::new(1 << 30);
        let mut lease = budget.lease();
        let codings = Codings::of(&headers(lines))?;
        let mut unpacking = Unpacking::new(&codings, packed.to_vec().into(), max);
        assert!(unpacking.go_on(usize::MAX, &mut lease)?, "nothing bounds it but the end");
        let body = unpacking.finish();
        assert_eq!(budget.used(), body.len(), "every byte is booked");
        Ok(body.as_bytes().to_vec())
    }

    #[track_caller]
    fn check(lines: &[&'static str], packed: &[u8], expected: Result<&[u8], &str>) {
        let unpacked = unpack(lines, packed, 1000).map_err(|error| error.to_string());
        assert_eq!(unpacked.as_deref().map_err(String::as_str), expected, "{lines:?}");
    }

    #[test]
    fn codings_go_by_their_names_in_any_case_and_in_lists() {
        let (gzipped, deflated) = (gzip(TEXT), deflate(TEXT));
        for name in ["gzip", "GZIP", "x-gzip", "X-GZip", "identity, gzip", ", gzip,", " gzip\t"] {
            check(&[name], &gzipped, Ok(TEXT));
        }
        for name in ["deflate", "DEFLATE", "Identity,deflate"] {
            check(&[name], &deflated, Ok(TEXT));
        }
        check(&["identity"], TEXT, Ok(TEXT));
        check(&[""], TEXT, Ok(TEXT));
        // The first that is named is the one that was put on first.
        check(&["gzip, deflate"], &deflate(&gzipped), Ok(TEXT));
        check(&["gzip", "deflate"], &deflate(&gzipped), Ok(TEXT));
        check(&["deflate", "identity", "gzip, gzip"], &gzip(&gzip(&deflated)), Ok(TEXT));
        check(
            &["deflate, gzip"],
            &deflate(&gzipped),
            Err("the body is not gzip, as its head says, or is damaged"),
        );
        for (name, got) in [("br", "br"), ("gzip, ZSTD", "zstd"), ("gzip;q=1", "gzip;q=1")] {
            let error = Codings::of(&headers(&[name])).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType);
            let expected =
                format!("the content coding {got:?} is not supported, expected gzip or deflate");
            assert_eq!(error.to_string(), expected);
        }
        let error = Codings::of(&headers(&["gzip,gzip,gzip,gzip,gzip"])).unwrap_err();
        assert_eq!(error.to_string(), "the body is packed more than 4 times");
    }

    #[test]
    fn several_members_are_one_body_and_nothing_follows_them() {
        let (first, second) = TEXT.split_at(9);
        check(&["gzip"], &[gzip(first), gzip(b""), gzip(second)].concat(), Ok(TEXT));
        let behind = Err("the body has bytes behind its last gzip member");
        for more in [&b"\0"[..], b"{}", b"\x1f\x8a", TEXT, b"\0\0\0\0\0\0\0\0\0\0\0\0"] {
            check(&["gzip"], &[&gzip(TEXT)[..], more].concat(), behind);
        }
        let two = [gzip(first), gzip(second)].concat();
        let cut = Err("the body is cut off: its gzip stream has no end");
        for left in [1, 2, 5, gzip(second).len() - 1] {
            check(&["gzip"], &two[..gzip(first).len() + left], cut);
        }
        let behind = Err("the body has bytes behind its deflate stream");
        check(&["deflate"], &[deflate(TEXT), deflate(TEXT)].concat(), behind);
        check(&["deflate"], &[&deflate(TEXT)[..], b"\0"].concat(), behind);
        let many = gzip(b"").repeat(MAX_MEMBERS);
        check(&["gzip"], &many, Ok(b""));
        let more = Err("the body has more than 4096 gzip members");
        check(&["gzip"], &[many, gzip(b"")].concat(), more);
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_refused_wherever_that_is() {
        for (coding, whole) in [("gzip", gzip(TEXT)), ("deflate", deflate(TEXT))] {
            for len in 1..whole.len() {
                let text = format!("the body is cut off: its {coding} stream has no end");
                check(&[coding], &whole[..len], Err(&text));
            }
            for at in [0, whole.len() - 1] {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x40;
                let text = format!("the body is not {coding}, as its head says, or is damaged");
                check(&[coding], &damaged, Err(&text));
            }
        }
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(TEXT).unwrap();
        let text = "the body is not deflate, as its head says, or is damaged";
        check(&["deflate"], &bare.finish().unwrap(), Err(text));
    }

    #[test]
    fn limits_count_what_every_coding_gives() {
        let bytes = vec![b' '; 1000];
        check(&["gzip"], &gzip(&bytes), Ok(&bytes));
        let large = Err("the body is larger than 1000 bytes");
        check(&["gzip"], &gzip(&[b' '; 1001]), large);
        check(&["deflate"], &deflate(&[b' '; 1001]), large);
        check(&["gzip"], &[gzip(&bytes), gzip(b" ")].concat(), large);
        // Nothing in the end, but much on the way there.
        check(&["gzip", "gzip"], &gzip(&gzip(b"").repeat(100)), large);
    }

    #[test]
    fn a_bomb_is_given_up_where_it_passes_the_limit() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let error = unpack(&["gzip"], &bomb, 1 << 20).unwrap_err();
        assert_eq!(error.code, ErrorCode::BodyTooLarge);
        let budget = ByteBudget::new(1 << 20);
        let mut lease = budget.lease();
        let codings = Codings::of(&headers(&["gzip"])).unwrap();
        let mut unpacking = Unpacking::new(&codings, bomb.into(), 64 << 20);
        assert!(!unpacking.go_on(1 << 16, &mut lease).unwrap(), "it stops where it is told to");
        assert!(budget.used() < (1 << 16) + STEP, "and no more than a step later");
        let error = unpacking.go_on(usize::MAX, &mut lease).unwrap_err();
        assert_eq!(error.code, ErrorCode::Overloaded, "all requests together have a limit too");
    }
}

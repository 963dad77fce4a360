//! Packing of answers for clients that ask for it.

use super::accept::weight;
use crate::pipeline;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::{self, Write};

/// Shorter answers gain nothing: they fit a packet or two as they are.
const MIN_BYTES: usize = 1024;

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    /// The zlib format, which HTTP calls by the name of what is inside (RFC 9110, section 8.4.1.2).
    Deflate,
}

impl Packing {
    /// What the client likes best (RFC 9110, section 12.5.3), and gzip where it likes both. Nothing unless it
    /// names one of them: who writes `*` need not be able to unpack, and plain bytes are never wrong.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let (mut gzip, mut deflate, mut plain) = (0.0, 0.0, 0.0);
        let lists = headers.get_all(ACCEPT_ENCODING).into_iter();
        let lists = lists.filter_map(|value| value.to_str().ok());
        for offer in lists.flat_map(|list| list.split(',')) {
            let (name, parameters) = offer.split_once(';').unwrap_or((offer, ""));
            let place = match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => &mut gzip,
                name if name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
                name if name.eq_ignore_ascii_case("deflate") => &mut deflate,
                name if name.eq_ignore_ascii_case("identity") => &mut plain,
                _ => continue,
            };
            *place = weight(parameters).max(*place);
        }
        let (best, weight) =
            if deflate > gzip { (Self::Deflate, deflate) } else { (Self::Gzip, gzip) };
        (weight > 0.0 && weight >= plain).then_some(best)
    }

    /// The name in `Content-Encoding`.
    pub(super) fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }
}

impl pipeline::Packing for Packing {
    fn pack(self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() < MIN_BYTES {
            return None;
        }
        let room = Vec::with_capacity(bytes.len() / 2);
        let packed = match self {
            Self::Gzip => {
                finish(GzEncoder::new(room, Compression::fast()), bytes, GzEncoder::finish)
            }
            Self::Deflate => {
                finish(ZlibEncoder::new(room, Compression::fast()), bytes, ZlibEncoder::finish)
            }
        };
        packed.ok().filter(|packed| packed.len() < bytes.len())
    }
}

fn finish<E: Write>(
    mut encoder: E,
    bytes: &[u8],
    end: impl FnOnce(E) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    encoder.write_all(bytes)?;
    end(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Packing as _;
    use flate2::read::{GzDecoder, ZlibDecoder};
    use std::io::Read;

    #[track_caller]
    fn check(accepts: &'static [&'static str], expected: Option<Packing>) {
        let values = accepts.iter().map(|value| HeaderValue::from_static(value));
        let mut headers = HeaderMap::new();
        values.for_each(|value| {
            headers.append(ACCEPT_ENCODING, value);
        });
        assert_eq!(Packing::accepted(&headers), expected, "{accepts:?}");
    }

    #[test]
    fn only_what_is_named_is_used() {
        check(&[], None);
        check(&["identity", "br"], None);
        check(&["*"], None);
        check(&["gzip;q=0"], None);
        check(&["deflate, GZIP"], Some(Packing::Gzip));
        check(&["br", "deflate"], Some(Packing::Deflate));
        check(&["gzip; q=0.0, deflate; q=1"], Some(Packing::Deflate));
        check(&["X-GZIP"], Some(Packing::Gzip));
        check(&["gzip;Q=0.000"], None);
        check(&["*;q=0", "gzip"], Some(Packing::Gzip));
        check(&["*, gzip;q=0"], None);
    }

    #[test]
    fn what_is_liked_best_is_used() {
        check(&["gzip;q=0.5, deflate;q=0.8"], Some(Packing::Deflate));
        check(&["gzip;q=0.5", "deflate;q=0.5"], Some(Packing::Gzip));
        check(&["identity, gzip;q=0.5"], None);
        check(&["identity;q=0.5, gzip"], Some(Packing::Gzip));
        check(&["identity;q=0, gzip;q=0.1"], Some(Packing::Gzip));
        check(&["gzip;q="], None);
        check(&["gzip;q=x"], None);
        check(&["gzip;q=-1, gzip;q=2, gzip;q=NaN"], None);
        check(&["gzip;other=1"], Some(Packing::Gzip));
    }

    #[test]
    fn what_is_packed_unpacks() {
        let text = b"0.125, ".repeat(1000);
        let mut back = Vec::new();
        let packed = Packing::Gzip.pack(&text).unwrap();
        GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert!(back == text && packed.len() < text.len() / 10);
        back.clear();
        let packed = Packing::Deflate.pack(&text).unwrap();
        ZlibDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, text);
        assert_eq!(Packing::Gzip.pack(b"short"), None);
    }
}

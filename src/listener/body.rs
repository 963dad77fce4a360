//! Where a request body ends: counts a known length, or walks the chunked coding. Pure; it decodes
//! nothing, it only tells which bytes still belong to the message. Hyper decodes the same bytes
//! after us; this walk is the stricter of the two, so that both always agree about the end.

/// The most hexadecimal digits of a chunk size. 15 digits stay far below `u64::MAX`.
const MAX_SIZE_DIGITS: u8 = 15;

/// What is still to come of a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Length(u64),
    Chunked(Chunked),
}

/// The chunked coding broke its grammar: nothing after this point can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body breaks the chunked coding")]
pub(super) struct BrokenChunk;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// Bytes left in the chunk being passed, or its size while that is being read.
    left: u64,
    digits: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl BodyFraming {
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.state == State::Done,
        }
    }

    /// How many of the bytes belong to this body. All of them, unless the body ends among them.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> Result<usize, BrokenChunk> {
        match self {
            Self::Length(left) => {
                let n_bytes =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= n_bytes as u64;
                Ok(n_bytes)
            }
            Self::Chunked(chunked) => chunked.consume(bytes),
        }
    }
}

impl Chunked {
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, BrokenChunk> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let rest = bytes.len() - at;
                let n_bytes = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                at += n_bytes;
                self.left -= n_bytes as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, BrokenChunk> {
        let next = match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::Extension,
            (State::Size, digit) => {
                self.push_digit(digit)?;
                State::Size
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => State::Extension,
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart, b'!'..=b'~') => State::Trailer,
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => State::Trailer,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(BrokenChunk),
        };
        Ok(next)
    }

    fn push_digit(&mut self, byte: u8) -> Result<(), BrokenChunk> {
        let digit = char::from(byte).to_digit(16).ok_or(BrokenChunk)?;
        if self.digits == MAX_SIZE_DIGITS {
            return Err(BrokenChunk);
        }
        self.digits += 1;
        self.left = self.left * 16 + u64::from(digit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text byte by byte and whole: both must end at the same place.
    #[track_caller]
    fn check(text: &str, expected: Result<usize, BrokenChunk>) {
        let mut whole = BodyFraming::Chunked(Chunked::default());
        assert_eq!(whole.consume(text.as_bytes()), expected, "whole: {text:?}");
        let mut single = BodyFraming::Chunked(Chunked::default());
        let mut n_bytes = 0;
        let mut outcome = Ok(());
        for byte in text.bytes() {
            match single.consume(&[byte]) {
                Ok(n) => n_bytes += n,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        assert_eq!(outcome.map(|()| n_bytes), expected, "byte by byte: {text:?}");
        assert_eq!(whole, single, "both walks must end in the same state");
    }

    #[test]
    fn a_chunked_body_ends_where_its_last_line_ends() {
        check("0\r\n\r\n", Ok(5));
        check("0\r\n\r\nGET / HTTP/1.1\r\n", Ok(5));
        check("5\r\nhello\r\n0\r\n\r\nrest", Ok(15));
        check("5;name=value\r\nhello\r\n000\r\nTrailer: x\r\n\r\nrest", Ok(40));
        check("A\r\n0123456789\r\n", Ok(15));
    }

    #[test]
    fn a_broken_chunk_is_refused() {
        for text in [
            "\r\n",
            ";x\r\n",
            "5\nhello",
            "5 \r\nhello",
            "0x5\r\n",
            "-1\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nA: b\rc\r\n\r\n",
            "5;a\0\r\n",
            "5;a\n\r\n",
            "1000000000000000\r\n",
        ] {
            check(text, Err(BrokenChunk));
        }
    }

    #[test]
    fn a_known_length_is_counted() {
        let mut body = BodyFraming::Length(5);
        assert_eq!(body.consume(b"abc"), Ok(3));
        assert!(!body.is_done());
        assert_eq!(body.consume(b"defg"), Ok(2));
        assert!(body.is_done());
        assert_eq!(body.consume(b"g"), Ok(0));
    }
}

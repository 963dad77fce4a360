//! The guard against scripted clients: what passes, and that cuts do not matter.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::activity::Activity;
use super::super::guard::{Guard, HeadLimits, Socket};
use super::*;

/// A client that sends these pieces and leaves.
struct Script(VecDeque<Vec<u8>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("these tests only read")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Script {
    fn has_unread(&self) -> bool {
        !self.0.is_empty()
    }
}

#[derive(Debug)]
struct Passed {
    bytes: Vec<u8>,
    /// Where the reads ended.
    ends: Vec<usize>,
    n_heads: u64,
    has_failed: bool,
}

/// Everything that hyper would read, `space` bytes at a time.
fn pass(pieces: &[Vec<u8>], space: usize) -> Passed {
    let options = ListenerOptions::default();
    let activity = Arc::new(Activity::new(&options));
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).cloned();
    let limits = HeadLimits { max_bytes: 1024, max_headers: 20 };
    let mut guard = Guard::new(Script(pieces.collect()), Arc::clone(&activity), limits);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut passed = Passed { bytes: Vec::new(), ends: Vec::new(), n_heads: 0, has_failed: false };
    loop {
        let mut space = vec![0; space];
        let mut out = ReadBuf::new(&mut space);
        match Pin::new(&mut guard).poll_read(&mut cx, &mut out) {
            Poll::Ready(Ok(())) if out.filled().is_empty() => break,
            Poll::Ready(Ok(())) => passed.bytes.extend_from_slice(out.filled()),
            Poll::Ready(Err(_)) => {
                passed.has_failed = true;
                break;
            }
            // Only after a refusal: there is nothing more to come.
            Poll::Pending => break,
        }
        passed.ends.push(passed.bytes.len());
    }
    passed.n_heads = activity.n_begun();
    passed
}

/// Cuts the bytes into pieces of these sizes, over and over.
fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

/// A legal request as bytes: without a body, with a length, or in chunks.
fn legal_request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..300);
    let headers = prop::collection::vec("[A-Za-z-]{1,8}x: [ -~]{0,20}", 0..5);
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..5);
    (headers, body, chunks, 0..3_u8).prop_map(|(headers, body, chunks, kind)| {
        let mut request = b"POST /a?b=c HTTP/1.1\r\nHost: a\r\n".to_vec();
        for line in headers {
            request.extend_from_slice(line.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        match kind {
            0 => request.extend_from_slice(b"\r\n"),
            1 => {
                let line = format!("Content-Length: {}\r\n\r\n", body.len());
                request.extend_from_slice(line.as_bytes());
                request.extend_from_slice(&body);
            }
            _ => {
                request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    let line = format!("{:x};e=\"v\"\r\n", chunk.len());
                    request.extend_from_slice(line.as_bytes());
                    request.extend_from_slice(&chunk);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\nT: v\r\n\r\n");
            }
        }
        request
    })
}

proptest! {
    #[test]
    fn legal_requests_pass_unchanged(
        requests in prop::collection::vec(legal_request(), 1..5),
        sizes in prop::collection::vec(1..400_usize, 1..6),
        space in 1..500_usize,
    ) {
        let stream = requests.concat();
        let passed = pass(&cut(&stream, &sizes), space);
        prop_assert!(!passed.has_failed);
        prop_assert_eq!(passed.bytes, stream);
        prop_assert_eq!(passed.n_heads, requests.len() as u64);
        let mut end = 0;
        for request in &requests {
            end += request.len();
            prop_assert!(passed.ends.contains(&end), "no read may span two messages");
        }
    }

    /// One byte is changed anywhere: what hyper sees of it must be the same, however it is cut.
    #[test]
    fn what_is_refused_does_not_depend_on_the_cuts(
        request in legal_request(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        sizes in prop::collection::vec(1..40_usize, 1..6),
    ) {
        let mut stream = [request.clone(), request].concat();
        let at = position.index(stream.len());
        stream[at] = byte;
        let whole = pass(std::slice::from_ref(&stream), 4096);
        let cut = pass(&cut(&stream, &sizes), 64);
        prop_assert_eq!(whole.has_failed, cut.has_failed);
        prop_assert_eq!(whole.n_heads, cut.n_heads);
        if !whole.has_failed {
            prop_assert_eq!(&whole.bytes, &cut.bytes);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let passed = pass(&pieces, 64);
        prop_assert!(passed.bytes.is_empty() || passed.bytes.ends_with(b"\r\n\r\n") || passed.n_heads > 0);
    }
}

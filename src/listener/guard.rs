//! The I/O between the socket and hyper. Hyper gets an HTTP/1 request head only when it is whole
//! and legal, and never bytes of two messages in one read; a head that breaks the rules is replaced
//! by a harmless one, and the service adapter answers that with the refusal. So the refusal comes
//! in its turn after the answers before it, and hyper closes the connection in good order.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::body::BodyFraming;
use super::flood::{Flood, FrameWatch};
use super::head::{self, Refusal, Scan};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What hyper reads in place of a refused head.
const REFUSED_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const READ_BYTES: usize = 8 * 1024;

/// A byte stream that can tell whether the kernel holds bytes that were not read yet.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    fn has_unread(&self) -> bool;
}

impl Socket for tokio::net::TcpStream {
    /// Asks the kernel and not tokio, whose readiness lags behind by a turn of its reactor.
    fn has_unread(&self) -> bool {
        use rustix::net::RecvFlags;
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(self, &mut [0_u8; 1], flags), Ok((_, n_bytes)) if n_bytes > 0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// The client left, or we are closing, before a byte came.
    Nothing,
}

/// How large a request head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) max_bytes: usize,
    pub(super) max_headers: usize,
}

#[derive(Debug)]
pub(super) struct Guard<T> {
    socket: T,
    activity: Arc<Activity>,
    state: State,
    /// Bytes read from the socket and not given to hyper.
    buffer: BytesMut,
    /// How many at the front of `buffer` may go to hyper.
    released: usize,
    limits: HeadLimits,
    is_blocked: bool,
    written_bytes: u64,
    /// Of these, what the socket had taken when it last refused some or took them again.
    noted_bytes: u64,
    is_flooded: bool,
}

#[derive(Debug)]
enum State {
    /// Between two messages, or in a head whose first `scanned` bytes are in the buffer.
    Head {
        scanned: usize,
    },
    Body(BodyFraming),
    /// After the last message that we let through: what comes is thrown away.
    Refused,
    /// HTTP/2, which has no such ambiguities: its frames are only counted.
    Frames(Box<FrameWatch>),
}

impl<T: Socket> Guard<T> {
    pub(super) fn new(socket: T, activity: Arc<Activity>, limits: HeadLimits) -> Self {
        Self {
            socket,
            activity,
            state: State::Head { scanned: 0 },
            buffer: BytesMut::new(),
            released: 0,
            limits,
            is_blocked: false,
            written_bytes: 0,
            noted_bytes: 0,
            is_flooded: false,
        }
    }

    /// Reads until the bytes are HTTP/2's preface or cannot become it. They stay in the buffer.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        loop {
            let n_compared = self.buffer.len().min(HTTP2_PREFACE.len());
            if self.buffer[..n_compared] != HTTP2_PREFACE[..n_compared] {
                return Poll::Ready(Ok(Protocol::Http1));
            }
            if n_compared == HTTP2_PREFACE.len() {
                self.activity.speaks_http2();
                let mut watch = FrameWatch::new();
                watch.note(&self.buffer, &self.activity);
                self.state = State::Frames(Box::new(watch));
                self.released = self.buffer.len();
                return Poll::Ready(Ok(Protocol::Http2));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(Protocol::Nothing));
            }
        }
    }

    /// Whether the client may still be sending what nobody is going to read.
    pub(super) fn has_leftovers(&self) -> bool {
        let is_between = matches!(self.state, State::Head { .. });
        !is_between || !self.buffer.is_empty() || self.socket.has_unread()
    }

    /// Whether the connection ended because of what the client sent for nothing.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded
    }

    pub(super) fn into_socket(self) -> T {
        self.socket
    }

    /// Reads into the buffer a part of a head. Returns 0 at the end of the stream, and in place of
    /// waiting when the connection was asked to close and nothing has come.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut chunk = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.socket).poll_read(cx, &mut chunk) {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending => return self.poll_close_idle(),
        }
        if !chunk.filled().is_empty() {
            self.activity.head_started();
        }
        self.buffer.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// To hyper an end of the stream between two messages is the client's good-bye, and it ends
    /// the connection in good order. A request that reached the kernel is waited for.
    fn poll_close_idle(&self) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() && self.activity.may_close() && !self.socket.has_unread() {
            return Poll::Ready(Ok(0));
        }
        Poll::Pending
    }

    /// Lets through what may go of the buffer, up to the end of a message's head or body.
    fn release(&mut self) -> io::Result<()> {
        while self.released == 0 && !self.buffer.is_empty() {
            match &mut self.state {
                State::Head { scanned } => {
                    let scanned = *scanned;
                    if self.buffer.starts_with(b"\r\n") {
                        self.skip_empty_lines();
                        continue;
                    }
                    match self.judge(scanned) {
                        Ok(None) => return Ok(()),
                        Ok(Some((len, body))) => {
                            self.released = len;
                            self.activity.head_released(None);
                            self.state = State::after_head(body);
                        }
                        Err(refusal) => self.refuse(refusal),
                    }
                }
                State::Body(body) => {
                    self.released = body.consume(&self.buffer).map_err(invalid_data)?;
                    if body.is_done() {
                        self.state = State::Head { scanned: 0 };
                    }
                }
                State::Refused => self.buffer.clear(),
                State::Frames(_) => self.released = self.buffer.len(),
            }
        }
        Ok(())
    }

    /// RFC 9112 2.2: a server should ignore an empty line before a request; some clients send one
    /// after a body. They are not a part of the head, and do not make the connection busy.
    fn skip_empty_lines(&mut self) {
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
        }
        self.state = State::Head { scanned: 0 };
        if self.buffer.is_empty() {
            self.activity.head_vanished();
        }
    }

    fn judge(&mut self, scanned: usize) -> Result<Option<(usize, BodyFraming)>, Refusal> {
        match head::scan(&self.buffer, scanned)? {
            Scan::Complete { len } if len <= self.limits.max_bytes => {
                let body = head::check(&self.buffer[..len], self.limits.max_headers)?;
                Ok(Some((len, body)))
            }
            Scan::Partial { scanned } if scanned < self.limits.max_bytes => {
                self.state = State::Head { scanned };
                Ok(None)
            }
            Scan::Complete { .. } | Scan::Partial { .. } => Err(Refusal::HeadTooLarge),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.activity.head_released(Some(refusal));
        self.state = State::Refused;
        self.buffer.clear();
        self.buffer.extend_from_slice(REFUSED_HEAD);
        self.released = REFUSED_HEAD.len();
    }

    /// Reads a body from the socket straight into hyper's buffer; what follows the body is taken
    /// out again and kept.
    fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        let State::Body(body) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let came = &out.filled()[n_before..];
        let n_bytes = body.consume(came).map_err(invalid_data)?;
        if body.is_done() {
            self.state = State::Head { scanned: 0 };
        }
        if n_bytes < came.len() {
            self.activity.head_started();
            self.buffer.extend_from_slice(&came[n_bytes..]);
            out.set_filled(n_before + n_bytes);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads frames from the socket straight into hyper's buffer.
    fn poll_read_frames(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        let State::Frames(watch) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        watch.note(&out.filled()[n_before..], &self.activity);
        if !watch.is_borne(self.written_bytes, &self.activity) {
            self.is_flooded = true;
            return Poll::Ready(Err(invalid_data(Flood)));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        loop {
            let mut chunk = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl State {
    fn after_head(body: BodyFraming) -> Self {
        if body.is_done() { Self::Head { scanned: 0 } } else { Self::Body(body) }
    }
}

fn invalid_data(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<T: Socket> AsyncRead for Guard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        loop {
            me.release()?;
            if me.released > 0 {
                let n_bytes = me.released.min(out.remaining());
                out.put_slice(&me.buffer[..n_bytes]);
                me.buffer.advance(n_bytes);
                me.released -= n_bytes;
                let is_next = matches!(me.state, State::Head { .. });
                if me.released == 0 && is_next && !me.buffer.is_empty() {
                    me.activity.head_started();
                }
                return Poll::Ready(Ok(()));
            }
            match me.state {
                State::Body(_) => return me.poll_read_body(cx, out),
                State::Frames(_) => return me.poll_read_frames(cx, out),
                State::Refused => {
                    // Hyper looks for the end of the stream while the refusal is being written;
                    // it must not see it before that is done, or it would give the answer up.
                    let _ = me.poll_discard(cx)?;
                    return Poll::Pending;
                }
                State::Head { .. } => {
                    if ready!(me.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<T: Socket> Guard<T> {
    fn note_write(&mut self, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n_bytes)) = outcome {
            self.written_bytes += *n_bytes as u64;
        }
        let is_pending = outcome.is_pending();
        if is_pending != self.is_blocked {
            self.is_blocked = is_pending;
            let taken = self.written_bytes - self.noted_bytes;
            self.noted_bytes = self.written_bytes;
            self.activity.set_blocked(is_pending, usize::try_from(taken).unwrap_or(usize::MAX));
        }
    }
}

impl<T: Socket> AsyncWrite for Guard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

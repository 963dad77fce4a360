//! Between hyper and the router: every request carries its peer's address, every answer says
//! `Connection: close` when it is to be the last, and a request counts as in progress until the
//! last byte of its answer has left.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::activity::Activity;
use super::exchange::Exchange;
use super::head::Refusal;
use super::stats::{ConnectionStats, count};
use super::streams::Streams;
use crate::inference::Recipient;

/// Answers up to this size leave with their end, in one frame. Of longer ones the end is kept back until the rest has left:
/// a stream whose end is queued cannot be reset any more.
const FRAME_BYTES: usize = 16 * 1024;

/// The address at the other end of the connection, in the extensions of every request. Behind a
/// load balancer it is the balancer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// What a listener can serve. An axum `Router` is one.
pub trait HttpService:
    tower::Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    type Body: AnswerBody;
}

impl<S, B> HttpService for S
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: AnswerBody,
{
    type Body = B;
}

/// The body of an answer, as axum's `Body` is.
pub trait AnswerBody:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> AnswerBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Adapter<S> {
    pub(super) service: S,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) stats: Arc<ConnectionStats>,
    pub(super) refusal: fn(Refusal) -> Response<Bytes>,
    pub(super) refusal_headers: HeaderMap,
    /// On HTTP/2, where the streams' tasks are started.
    pub(super) streams: Option<Streams>,
    /// On HTTP/2, who takes the answers of all streams: in the extensions of every request.
    pub(super) recipient: Option<Recipient>,
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<Tracked<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (number, refusal) = self.activity.called();
        let activity = Arc::clone(&self.activity);
        let exchange = Arc::new(Exchange::new(activity, number));
        if let Some(streams) = &self.streams {
            streams.called(&exchange);
        }
        if let Some(refusal) = refusal {
            count(&self.stats.closed_framing);
            let mut response = (self.refusal)(refusal);
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            headers.extend(self.refusal_headers.clone());
            let tracked = |bytes| Tracked::new(Source::Refusal(Some(bytes)), exchange);
            let response = response.map(tracked);
            return Box::pin(std::future::ready(Ok(response)));
        }
        request.extensions_mut().insert(PeerAddr(self.peer));
        if let Some(recipient) = &self.recipient {
            request.extensions_mut().insert(recipient.clone());
        }
        let answers_http1 = request.version() < Version::HTTP_2;
        let answer = self.service.clone().oneshot(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if answers_http1 && exchange.activity().is_last_answer() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Tracked::new(Source::Service(body), exchange)))
        })
    }
}

/// An answer's body that keeps its exchange alive.
#[derive(Debug)]
pub(super) struct Tracked<B> {
    source: Source<B>,
    exchange: Arc<Exchange>,
    /// The end comes when what was given has left.
    keeps_end_back: bool,
}

#[derive(Debug)]
enum Source<B> {
    Service(B),
    Refusal(Option<Bytes>),
}

impl<B> Tracked<B> {
    fn new(source: Source<B>, exchange: Arc<Exchange>) -> Self {
        Self { source, exchange, keeps_end_back: false }
    }
}

impl<B: AnswerBody> Body for Tracked<B> {
    type Data = Chunk;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, B::Error>>> {
        let frame = match &mut self.source {
            Source::Service(body) => ready!(Pin::new(body).poll_frame(cx)),
            Source::Refusal(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
        };
        if frame.is_none() && self.keeps_end_back {
            ready!(self.exchange.poll_sent(cx));
        }
        let is_long =
            |frame: &Frame<Bytes>| frame.data_ref().is_some_and(|bytes| bytes.len() > FRAME_BYTES);
        if matches!(&frame, Some(Ok(frame)) if is_long(frame)) {
            self.keeps_end_back = self.exchange.activity().is_http2();
        }
        let exchange = &self.exchange;
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|bytes| Chunk::new(bytes, exchange)))))
    }

    fn is_end_stream(&self) -> bool {
        !self.keeps_end_back
            && match &self.source {
                Source::Service(body) => body.is_end_stream(),
                Source::Refusal(bytes) => bytes.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service(body) => body.size_hint(),
            Source::Refusal(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// A piece of an answer on its way out. On HTTP/2 it lies in the stream's queue until the client
/// opens its window, where nobody else would notice that the client never does.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    exchange: Arc<Exchange>,
    is_watched: bool,
}

impl Chunk {
    fn new(bytes: Bytes, exchange: &Arc<Exchange>) -> Self {
        let is_watched = exchange.activity().is_http2();
        if is_watched {
            exchange.chunk_queued();
        }
        Self { bytes, exchange: Arc::clone(exchange), is_watched }
    }

    fn progressed(&self, n_bytes: usize) {
        if self.is_watched {
            self.exchange.chunk_progressed(n_bytes);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.is_watched {
            self.exchange.chunk_done();
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n_bytes: usize) {
        self.bytes.advance(n_bytes);
        self.progressed(n_bytes);
    }

    /// The default would copy.
    fn copy_to_bytes(&mut self, n_bytes: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(n_bytes);
        self.progressed(n_bytes);
        bytes
    }
}

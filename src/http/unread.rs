//! What is left of a request's body when the answer is there.
//!
//! An answer can be known before the body has come: there is no such model. A connection whose body
//! was not read cannot carry another request, and hyper closes it without a word; a client that has
//! its next request on the way by then sees it fail. So a short rest is read and dropped before the
//! answer goes out, and where that is not possible the answer says that the connection closes.

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// The longest rest that is read; more is cheaper to refuse with the connection.
const MAX_BYTES: usize = 64 * 1024;

/// How long the rest may take: it holds up the answer.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Where a body goes back to that a handler dropped before its end.
#[derive(Debug)]
pub(super) struct Unread<B>(Owner<B>);

type Owner<B> = Arc<Mutex<Option<Left<B>>>>;

/// What a handler left of a body.
#[derive(Debug)]
enum Left<B> {
    /// What it did not read.
    Rest(B),
    /// It could not be read to its end: where the next request begins nobody knows.
    Broken,
}

/// A body on loan to the handlers.
struct Lent<B: HttpBody> {
    body: Option<B>,
    owner: Owner<B>,
}

impl<B> Default for Unread<B> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<B> Unread<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// The body as handlers get it.
    pub(super) fn lend(&self, body: B) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Lent { body: Some(body), owner: Arc::clone(&self.0) })
    }

    /// Reads what is left, or has the answer say that the connection closes.
    pub(super) async fn settle(&self, version: Version, response: &mut Response) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(left) = left else { return };
        // Whose time is up has waited long enough.
        let is_late = response.status() == StatusCode::GATEWAY_TIMEOUT;
        let patience = if is_late { Duration::ZERO } else { MAX_WAIT };
        let read = match left {
            Left::Rest(body) => timeout(patience, discard(body)).await,
            Left::Broken => Ok(false),
        };
        // HTTP/2 gives each request a stream of its own, which ends with the answer.
        if read != Ok(true) && version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Whether the body came to its end.
async fn discard<B>(mut body: B) -> bool
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut bytes = 0;
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return false;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MAX_BYTES {
            return false;
        }
    }
    true
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        // What has ended, well or badly, is not given back.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            give_back(&self.owner, Left::Broken);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            give_back(&self.owner, Left::Rest(body));
        }
    }
}

fn give_back<B>(owner: &Owner<B>, left: Left<B>) {
    *owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::channel::Channel;

    /// Settles a body that no handler looked at; whether the answer closes the connection.
    async fn closes(body: Body) -> bool {
        let unread = Unread::default();
        drop(unread.lend(body));
        let mut response = Response::new(Body::empty());
        unread.settle(Version::HTTP_11, &mut response).await;
        response.headers().contains_key(CONNECTION)
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_rest_is_read_and_a_long_or_late_one_closes() {
        assert!(!closes(Body::empty()).await);
        assert!(!closes(Body::from("{}")).await);
        assert!(closes(Body::from(vec![0; MAX_BYTES + 1])).await);
        let (_never, late) = Channel::<Bytes, axum::Error>::new(1);
        assert!(closes(Body::new(late)).await, "who sends no more must not hold up the answer");
    }

    #[tokio::test]
    async fn one_that_breaks_while_it_is_read_closes_too() {
        let unread = Unread::default();
        let (sender, broken) = Channel::<Bytes, axum::Error>::new(1);
        sender.abort(axum::Error::new("a chunk without its end"));
        unread.lend(Body::new(broken)).collect().await.unwrap_err();
        let mut response = Response::new(Body::empty());
        unread.settle(Version::HTTP_11, &mut response).await;
        assert_eq!(response.headers()[CONNECTION], "close");
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_is_settled() {
        let unread = Unread::default();
        let body = unread.lend(Body::from("abc")).collect().await.unwrap().to_bytes();
        let mut response = Response::new(Body::empty());
        unread.settle(Version::HTTP_11, &mut response).await;
        assert_eq!((&body[..], response.headers().len()), (&b"abc"[..], 0));
    }
}

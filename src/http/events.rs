//! What happened to models: the last events, and those to come.

use super::error::Failed;
use super::state::{App, MAX_FOLLOWERS};
use crate::inference::{ErrorCode, InferError};
use crate::listener::{DrainPhase, DrainSignal};
use crate::telemetry::events::{Event, Events};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderValue};
use http_body::Frame;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Maximum events in one piece of a stream.
const PIECE: usize = 100;
/// An empty line goes out where nothing happens for so long: what lies between would take the connection for dead.
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    since: u64,
    follow: bool,
}

/// The events after a number, or all; as they come, where that is asked for.
pub(super) async fn list(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(Asked { since, follow }) = asked.map_err(|_| {
        let message = "expected since=NUMBER and follow=true or false in the query";
        InferError::new(ErrorCode::InvalidRequest, message)
    })?;
    if !follow {
        return Ok(Json(json!({"events": app.events.since(since)})).into_response());
    }
    let permit = Arc::clone(&app.following).try_acquire_owned().map_err(|_| {
        let message = format!("{MAX_FOLLOWERS} callers follow the events already");
        InferError::new(ErrorCode::QueueFull, message)
    })?;
    let (events, phase) = (app.events.clone(), app.phase.clone());
    let latest = events.latest();
    let place = Place { events, since, latest, phase, _permit: permit };
    let mut response = Response::new(Body::new(Stream::Waits(Box::pin(place.next()))));
    let media_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

/// Where a reader is.
struct Place {
    events: Events,
    since: u64,
    latest: watch::Receiver<u64>,
    phase: DrainSignal,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The next piece, with the place behind it; nothing once the server ends.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if *self.phase.borrow() > DrainPhase::Serving {
                return None;
            }
            // Seen first: what comes while the events are read is a change.
            self.latest.borrow_and_update();
            let events = self.events.since(self.since);
            if let Some(last) = events.get(..PIECE).unwrap_or(&events).last() {
                self.since = last.id;
                return Some((lines(&events), self));
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                changed = self.phase.changed() => changed.ok()?,
                () = tokio::time::sleep(SILENCE) => return Some((Bytes::from_static(b"\n"), self)),
            }
        }
    }
}

fn lines(events: &[Event]) -> Bytes {
    let mut text = Vec::new();
    for event in events.iter().take(PIECE) {
        text.extend(json!(event).to_string().into_bytes());
        text.push(b'\n');
    }
    text.into()
}

/// What comes next, and the place behind it.
type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Place)>> + Send>>;

/// Pieces as a body takes them.
enum Stream {
    Waits(Next),
    Ended,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self::Waits(next) = &mut *self else { return Poll::Ready(None) };
        let Some((piece, place)) = ready!(next.as_mut().poll(context)) else {
            *self = Self::Ended;
            return Poll::Ready(None);
        };
        *self = Self::Waits(Box::pin(place.next()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

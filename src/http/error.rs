//! Failures on their way out: a handler says what is wrong, and one place writes it.

use super::route::Protocol;
use crate::inference::{ErrorCode, InferError};
use crate::listener::Refusal;
use crate::protocol::codes::meaning;
use crate::protocol::{embeddings, predict, torchserve};
use axum::body::{Body, Bytes};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::mem;
use std::sync::Arc;

pub(super) const JSON: &str = "application/json";

/// The status that a failure is answered with.
#[must_use]
pub fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(meaning(code).http).expect("every row has three digits")
}

/// The answer to a head that breaks the framing rules, in the shape of every other error.
#[must_use]
pub fn refusal(refusal: Refusal) -> Response<Bytes> {
    let is_large = refusal.is_about_size();
    let code = if is_large { ErrorCode::HeadTooLarge } else { ErrorCode::InvalidRequest };
    let error = InferError::new(code, refusal.to_string());
    let mut response = Response::new(predict::encode_error(&error, "").into());
    *response.status_mut() = status(code);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// Why a handler has no answer.
#[derive(Debug)]
pub(super) struct Failed(InferError);

impl From<InferError> for Failed {
    fn from(error: InferError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    /// An answer with a status and no words: the error lies in its extensions, for [`Report::write`] and for the
    /// request's line of the log.
    fn into_response(self) -> Response {
        let mut response = status(self.0.code).into_response();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

/// Refuses a path that does not go with the method, and names those that it goes with.
pub(super) fn by_other_method(message: &'static str, allowed: &'static str) -> Response {
    let failed = Failed::from(InferError::new(ErrorCode::MethodNotAllowed, message));
    ([(ALLOW, allowed)], failed).into_response()
}

/// The failure that an answer stands for, if it does.
pub(super) fn failure(response: &Response) -> Option<&Arc<InferError>> {
    response.extensions().get()
}

/// A failure, and how the one who asked is to read it.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) error: Arc<InferError>,
    pub(super) protocol: Protocol,
    pub(super) request_id: &'a str,
    pub(super) method: &'a Method,
}

impl Report<'_> {
    /// Writes it into the answer that stands for it. What else is in the answer's head stays there.
    pub(super) fn write(self, mut response: Response) -> Response {
        let error = &*self.error;
        let body = match self.protocol {
            // Clients of the others read its member `error`, which is all that they know.
            Protocol::Native | Protocol::OpenInference | Protocol::Instances => {
                predict::encode_error(error, self.request_id)
            }
            Protocol::OpenAi => embeddings::encode_error(error, response.status().as_u16()),
            Protocol::PlainEmbeddings => {
                embeddings::encode_plain_error(error, response.status().as_u16())
            }
            Protocol::TorchServe => torchserve::encode_error(error, response.status().as_u16()),
        };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(after) = error.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        let mut head = mem::replace(response.headers_mut(), headers);
        // The router measured an empty body. Where it did, it would have left away one that is not wanted.
        let is_measured = head.remove(CONTENT_LENGTH).is_some();
        response.headers_mut().extend(head);
        if is_measured {
            response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        }
        let is_wanted = !is_measured || self.method != Method::HEAD;
        *response.body_mut() = if is_wanted { body.into() } else { Body::empty() };
        response
    }
}

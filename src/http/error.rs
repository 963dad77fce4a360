//! Failures on their way out: a handler says what is wrong, and one place writes it.

use super::shape::Shape;
use crate::inference::{ErrorCode, InferError};
use crate::listener::Refusal;
use crate::protocol::codes::meaning;
use crate::protocol::{predict, torchserve};
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::mem;
use std::sync::Arc;

/// The status that a failure is answered with.
#[must_use]
pub fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(meaning(code).http).expect("every row has three digits")
}

/// The answer to a head that breaks the framing rules, in the shape of every other error.
#[must_use]
pub fn refusal_body(refusal: Refusal) -> Bytes {
    let is_large = refusal.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let code = if is_large { ErrorCode::HeadTooLarge } else { ErrorCode::InvalidRequest };
    let error = InferError::new(code, refusal.to_string());
    predict::encode_error(&error, "").into()
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
    /// An answer with a status and no words: the error lies in its extensions, for [`write()`] and for the
    /// request's line of the log.
    fn into_response(self) -> Response {
        let mut response = status(self.0.code).into_response();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

/// The failure that an answer stands for, if it does.
pub(super) fn failure(response: &Response) -> Option<&InferError> {
    response.extensions().get::<Arc<InferError>>().map(AsRef::as_ref)
}

/// How a failure is told to the one who asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report<'a> {
    pub(super) shape: Shape,
    pub(super) request_id: &'a str,
    pub(super) method: &'a Method,
}

impl Report<'_> {
    /// Writes the failure that an answer stands for. What else is in the answer's head stays there.
    pub(super) fn write(self, mut response: Response) -> Response {
        let Some(error) = failure(&response) else { return response };
        let body = match self.shape {
            Shape::Native => predict::encode_error(error, self.request_id),
            Shape::TorchServe => torchserve::encode_error(error, response.status().as_u16()),
        };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = error.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        let mut head = mem::replace(response.headers_mut(), headers);
        // What the router measured is the empty body; it also leaves away what nobody wants to have.
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

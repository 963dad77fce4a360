//! The one table of status codes, and errors as responses.

use super::shape::Shape;
use crate::inference::{ErrorCode, InferError};
use crate::listener::Refusal;
use crate::protocol::{predict, torchserve};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The status that a failure is answered with. Closed: a new code does not compile without a row.
#[must_use]
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidJson
        | ErrorCode::InvalidBody
        | ErrorCode::InvalidInput
        | ErrorCode::ModelRequired => StatusCode::BAD_REQUEST,
        ErrorCode::ManagementOnly | ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::RouteNotFound | ErrorCode::ModelNotFound | ErrorCode::VersionNotFound => {
            StatusCode::NOT_FOUND
        }
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorCode::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::ClientClosed => client_closed(),
        ErrorCode::InferenceFailed | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::ModelNotReady
        | ErrorCode::Draining
        | ErrorCode::Overloaded
        | ErrorCode::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// 499, which the standard registry lacks: the client hung up. Nobody receives it; logs show it.
fn client_closed() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The code of a head that was refused before there was a request.
pub(super) fn code_of_refusal(refusal: Refusal) -> ErrorCode {
    if refusal.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        ErrorCode::HeadTooLarge
    } else {
        ErrorCode::InvalidRequest
    }
}

/// A failed request on its way out, in the shape of the protocol that it came by.
#[derive(Debug)]
pub(super) struct Failure {
    error: InferError,
    request_id: String,
    shape: Shape,
}

impl Failure {
    pub(super) fn new(error: InferError, request_id: &str, shape: Shape) -> Self {
        Self { error, request_id: request_id.to_owned(), shape }
    }
}

impl IntoResponse for Failure {
    /// Logs nothing: the error travels in the extensions, and one layer logs each request once.
    fn into_response(self) -> Response {
        let status = status(self.error.code);
        let body = match self.shape {
            Shape::Native => predict::encode_error(&self.error, &self.request_id),
            Shape::TorchServe => torchserve::encode_error(&self.error, status.as_u16()),
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.error.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response.extensions_mut().insert(Arc::new(self.error));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_an_error_status() {
        for &code in ErrorCode::ALL {
            let status = status(code);
            assert!(status.is_client_error() || status.is_server_error(), "{code} is {status}");
        }
        assert_eq!(status(ErrorCode::ClientClosed).as_u16(), 499);
    }
}

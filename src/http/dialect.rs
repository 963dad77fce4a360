//! In whose shape a route's errors are written, also where the route is not known.

use crate::inference::InferError;
use crate::protocol::{predict, torchserve};
use axum::http::{Method, StatusCode};

/// Which of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Public,
    Management,
}

/// A shape of errors. The Open Inference Protocol and TF Serving read the member `error` of an object,
/// which the native report has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Native,
    TorchServe,
}

impl Dialect {
    /// The dialect of the route that this request is for. `/models` is TorchServe's on the management
    /// listener and ours on the other; but who wants to change a model there, or asks for a version
    /// of it, speaks TorchServe's protocol all the same.
    pub(super) fn of(method: &Method, path: &str, side: Side) -> Self {
        let mut segments = path.trim_start_matches('/').split('/');
        match segments.next().unwrap_or_default() {
            "ping" | "predictions" | "explanations" | "api-description" => Self::TorchServe,
            "models" if side == Side::Management => Self::TorchServe,
            "models" if !matches!(*method, Method::GET | Method::HEAD) => Self::TorchServe,
            "models" if segments.nth(1).is_some() => Self::TorchServe,
            _ => Self::Native,
        }
    }

    /// Writes the report of a failure.
    pub(super) fn encode_error(
        self,
        error: &InferError,
        status: StatusCode,
        request_id: &str,
    ) -> Vec<u8> {
        match self {
            Self::Native => predict::encode_error(error, request_id),
            Self::TorchServe => torchserve::encode_error(error, status.as_u16()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_errors_follows_from_the_path() {
        use Dialect::{Native, TorchServe};
        for (path, public, management) in [
            ("/predictions/digits/1", TorchServe, TorchServe),
            ("/predictions", TorchServe, TorchServe),
            ("/ping", TorchServe, TorchServe),
            ("/models/digits", Native, TorchServe),
            ("/models/digits/1", TorchServe, TorchServe),
            ("/v1/models/digits:predict", Native, Native),
            ("/models", Native, TorchServe),
            ("/predict/digits", Native, Native),
            ("/v2/models/digits/infer", Native, Native),
            ("/", Native, Native),
        ] {
            let get = |side| Dialect::of(&Method::GET, path, side);
            assert_eq!((get(Side::Public), get(Side::Management)), (public, management), "{path}");
        }
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(Dialect::of(&method, "/models/digits", Side::Public), TorchServe);
            assert_eq!(Dialect::of(&method, "/predict/digits", Side::Public), Native);
        }
    }
}

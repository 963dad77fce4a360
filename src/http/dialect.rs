//! In whose shape a route's errors are written, also where the route is not known.

use crate::inference::InferError;
use crate::protocol::{predict, torchserve};
use axum::http::StatusCode;

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
    /// The dialect of the route that this path belongs to. `/models` is TorchServe's on the
    /// management listener, and ours on the other.
    pub(super) fn of(path: &str, side: Side) -> Self {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match (first, side) {
            ("ping" | "predictions" | "api-description", _) | ("models", Side::Management) => {
                Self::TorchServe
            }
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
            ("/models", Native, TorchServe),
            ("/predict/digits", Native, Native),
            ("/v2/models/digits/infer", Native, Native),
            ("/", Native, Native),
        ] {
            assert_eq!(Dialect::of(path, Side::Public), public, "{path}");
            assert_eq!(Dialect::of(path, Side::Management), management, "{path}");
        }
    }
}

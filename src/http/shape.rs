//! In which shape a failure is written: that of the protocol whose route was asked for, also where
//! there is no such route or it does not take the method.
//!
//! Most protocols have an object with `error`, beside which our other members may stand. TorchServe
//! has one of its own.

use axum::http::Method;

/// A shape of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object with `error`.
    Native,
    /// TorchServe's `code`, `type` and `message`.
    TorchServe,
}

/// Which listener was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Public,
    Management,
}

/// The first segments of TorchServe's paths for predictions.
const TORCHSERVE: &[&str] = &["api-description", "explanations", "ping", "predictions"];

impl Shape {
    /// The shape of what is wrong with this request.
    pub(super) fn of(side: Side, method: &Method, path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        let first = segments.next().unwrap_or("");
        // The management listener's models are TorchServe's. On the public one they are ours; who
        // wants to change them there, or a version of them, speaks TorchServe's protocol.
        let manages = first == "models"
            && (side == Side::Management
                || segments.count() > 1
                || !(method == Method::GET || method == Method::HEAD));
        if manages || TORCHSERVE.contains(&first) { Self::TorchServe } else { Self::Native }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_shape() {
        use Shape::{Native, TorchServe};
        use Side::{Management, Public};
        for (side, method, path, expected) in [
            (Public, Method::GET, "/models", Native),
            (Public, Method::HEAD, "/models/m", Native),
            (Public, Method::POST, "/models", TorchServe),
            (Public, Method::DELETE, "/models/m", TorchServe),
            (Public, Method::GET, "/models/m/1", TorchServe),
            (Management, Method::GET, "/models", TorchServe),
            (Management, Method::GET, "/models/m", TorchServe),
            (Management, Method::GET, "/manage/models/m", Native),
            (Public, Method::GET, "/ping", TorchServe),
            (Public, Method::GET, "/pingpong", Native),
            (Public, Method::POST, "/predictions/m", TorchServe),
            (Public, Method::POST, "/predictions", TorchServe),
            (Management, Method::POST, "/predictions/m/1/x", TorchServe),
            (Public, Method::POST, "/predict/m", Native),
            (Public, Method::POST, "/v1/models/m:predict", Native),
            (Public, Method::GET, "/", Native),
            (Public, Method::OPTIONS, "*", Native),
        ] {
            assert_eq!(Shape::of(side, &method, path), expected, "{side:?} {method} {path}");
        }
    }
}

//! The routes of TorchServe, so that its clients and scripts work as they are.
//!
//! Bodies of predictions are `protocol::torchserve`'s; here are its health check, and its management
//! protocol, which has the management listener's `/models`. What a model is stands in its folder,
//! so what TorchServe does by request (register, scale) is refused with what to do instead.

mod describe;
mod manage;
mod ping;
mod predictions;
mod time;

use super::error::Failed;
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use axum::Router;
use axum::routing::{any, get, post, put};

/// The routes that predict, which both listeners have.
pub(super) fn routes() -> Router<App> {
    let named = post(predictions::model).put(predictions::model);
    let numbered = post(predictions::version).put(predictions::version);
    Router::new()
        .route("/ping", get(ping::ping))
        .route("/predictions/{model}", named)
        .route("/predictions/{model}/{version}", numbered)
        .route("/explanations/{model}", any(explanations))
        .route("/explanations/{model}/{version}", any(explanations))
}

/// The management protocol, for its listener alone.
pub(super) fn management_routes() -> Router<App> {
    let model = get(describe::default).put(manage::scale).delete(manage::unregister);
    let version = get(describe::version).put(manage::scale).delete(manage::unregister_version);
    Router::new()
        .route("/models", get(describe::list).post(manage::register))
        .route("/models/{model}", model)
        .route("/models/{model}/{version}", version)
        .route("/models/{model}/{version}/set-default", put(manage::set_default))
}

async fn explanations() -> Failed {
    let message = "explanations are not supported: /predictions answers what the model gives";
    InferError::new(ErrorCode::Unsupported, message).into()
}

//! The routes of TensorFlow Serving's REST protocol, which KServe calls V1.
//!
//! Bodies of predictions are `protocol::instances`'s; here are the documents about models, and the
//! verbs that stand behind a colon in the last segment of a path. The router does not know those:
//! it matches the segment whole, and the handlers take it apart.

mod metadata;
mod predict;
mod status;

use super::error::Failed;
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use axum::Router;
use axum::routing::{any, get};

/// The routes, which both listeners have.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/models", get(status::list))
        .route("/v1/models/{model}", get(status::model).post(predict::model))
        .route("/v1/models/{model}/labels/{*rest}", any(labels))
        .route("/v1/models/{model}/metadata", get(metadata::model))
        .route("/v1/models/{model}/versions/{version}", get(status::version).post(predict::version))
        .route("/v1/models/{model}/versions/{version}/metadata", get(metadata::version))
}

async fn labels() -> Failed {
    let message = "labels of versions are not supported: name the version by its number, or none";
    InferError::new(ErrorCode::Unsupported, message).into()
}

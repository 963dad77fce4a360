//! The routes of the Open Inference Protocol V2, with the extensions that Triton's clients use.
//!
//! Bodies of inference are `protocol::open_inference`'s; here are the documents about the server and
//! its models, in their public form. Sources: the Open Inference Protocol's REST specification and
//! the Triton server's protocol extensions.

mod config;
mod infer;
mod metadata;
mod repository;
mod statistics;
mod unsupported;

use super::state::App;
use axum::Router;
use axum::routing::{any, get, post};

/// What `/v2` says that is there beyond the protocol's core: no name without its routes.
const EXTENSIONS: &[&str] = &[
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
];

/// The routes that read and predict, which both listeners have.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v2", get(metadata::server))
        .route("/v2/health/live", get(metadata::live))
        .route("/v2/health/ready", get(metadata::ready))
        .route("/v2/models", get(metadata::list))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/models/{model}", get(metadata::model))
        .route("/v2/models/{model}/config", get(config::model))
        .route("/v2/models/{model}/infer", post(infer::model))
        .route("/v2/models/{model}/ready", get(metadata::model_ready))
        .route("/v2/models/{model}/stats", get(statistics::model))
        .route("/v2/models/{model}/versions/{version}", get(metadata::version))
        .route("/v2/models/{model}/versions/{version}/config", get(config::version))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::version))
        .route("/v2/models/{model}/versions/{version}/ready", get(metadata::version_ready))
        .route("/v2/models/{model}/versions/{version}/stats", get(statistics::version))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/cudasharedmemory/{*rest}", any(unsupported::cuda_shared_memory))
        .route("/v2/logging", any(unsupported::logging))
        .route("/v2/models/{model}/generate", any(unsupported::generation))
        .route("/v2/models/{model}/generate_stream", any(unsupported::generation))
        .route("/v2/models/{model}/trace/setting", any(unsupported::trace_settings))
        .route("/v2/models/{model}/versions/{version}/generate", any(unsupported::generation))
        .route(
            "/v2/models/{model}/versions/{version}/generate_stream",
            any(unsupported::generation),
        )
        .route("/v2/systemsharedmemory/{*rest}", any(unsupported::system_shared_memory))
        .route("/v2/trace/setting", any(unsupported::trace_settings))
}

/// The routes that change state, which the management listener has beside those.
pub(super) fn management_routes() -> Router<App> {
    Router::new()
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
}

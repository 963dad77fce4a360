//! What Triton has and this server has not: refused by its name, so that nobody searches for a
//! fault of their own.

use crate::http::App;
use crate::http::context::RequestContext;
use crate::inference::{ErrorCode, InferError};
use axum::routing::any;
use axum::{Extension, Router};

/// The routes, and what is asked for there.
const ROUTES: &[(&str, &str)] = &[
    ("/v2/cudasharedmemory/{*rest}", "CUDA shared memory is"),
    ("/v2/logging", "log settings over HTTP are"),
    ("/v2/models/{model}/generate", "text generation is"),
    ("/v2/models/{model}/generate_stream", "text generation is"),
    ("/v2/models/{model}/trace/setting", "trace settings are"),
    ("/v2/models/{model}/versions/{version}/generate", "text generation is"),
    ("/v2/models/{model}/versions/{version}/generate_stream", "text generation is"),
    ("/v2/systemsharedmemory/{*rest}", "system shared memory is"),
    ("/v2/trace/setting", "trace settings are"),
];

pub(super) fn routes() -> Router<App> {
    ROUTES.iter().fold(Router::new(), |router, &(route, what)| {
        let refuse = async move |Extension(context): Extension<RequestContext>| {
            let message = format!("{what} not supported; /v2 lists the extensions that are");
            context.fail(InferError::new(ErrorCode::Unsupported, message))
        };
        router.route(route, any(refuse))
    })
}

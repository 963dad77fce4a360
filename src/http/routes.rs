//! The routers of both listeners, and the layers around their handlers.

use super::context::{self, Panicked, RequestContext};
use super::{App, health, index, manage, models, predict};
use crate::inference::{ErrorCode, InferError};
use crate::telemetry;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;

/// Every route of both listeners, as the routers write them: the closed list of a metric's label
/// and of the page that documents them.
pub const ROUTES: &[&str] = &[
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/livez",
    "/manage/models",
    "/manage/models/{model}",
    "/manage/models/{model}/reload",
    "/metrics",
    "/models",
    "/models/{model}",
    "/predict",
    "/predict/{model}",
    "/predict/{model}/versions/{version}",
    "/readyz",
];

/// The listener for predictions: everything that reads or predicts.
pub fn public_router(app: &App) -> Router {
    let mut router = reading_routes(app.options.public_metrics)
        .route("/models", get(models::list))
        .route("/models/{model}", get(models::describe));
    for route in ROUTES.iter().filter(|route| route.starts_with("/manage/")) {
        router = router.route(route, axum::routing::any(management_only));
    }
    with_layers(router, app)
}

/// The listener that changes state; it also does all that the public one does for predictions, so
/// that a client which knows one address works whole. `/models` on it is left to TorchServe's
/// management protocol.
pub fn management_router(app: &App) -> Router {
    let router = reading_routes(true)
        .route("/manage/models", get(models::list))
        .route("/manage/models/{model}", get(models::describe))
        .route("/manage/models/{model}/reload", post(manage::reload));
    with_layers(router, app)
}

fn reading_routes(metrics: bool) -> Router<App> {
    let router = Router::new()
        .route("/", get(index::page))
        .route("/health", get(health::summary))
        .route("/health/live", get(health::live))
        .route("/livez", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/readyz", get(health::ready))
        .route("/predict", post(predict::default_model))
        .route("/predict/{model}", post(predict::model))
        .route("/predict/{model}/versions/{version}", post(predict::version));
    if metrics { router.route("/metrics", get(self::metrics)) } else { router }
}

/// From the inside out: unpacking sees the body first, so that every limit behind it counts
/// unpacked bytes; the net for panics; and around all, what is known and told of a request.
fn with_layers(router: Router<App>, app: &App) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // A client that says nothing of an encoding that we lack gets our own error, from the handler.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), context::observe))
        .with_state(app.clone())
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = HeaderValue::from_static(telemetry::CONTENT_TYPE);
    ([(CONTENT_TYPE, content_type)], app.metrics.render()).into_response()
}

async fn not_found(Extension(context): Extension<RequestContext>) -> Response {
    let message = "there is no such route; GET / says which there are";
    context.fail(InferError::new(ErrorCode::RouteNotFound, message))
}

async fn method_not_allowed(Extension(context): Extension<RequestContext>) -> Response {
    let message = "the route does not take this method; the header Allow names those that it takes";
    context.fail(InferError::new(ErrorCode::MethodNotAllowed, message))
}

async fn management_only(Extension(context): Extension<RequestContext>) -> Response {
    let message = "this route answers on the management listener only";
    context.fail(InferError::new(ErrorCode::ManagementOnly, message))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.extensions_mut().insert(Panicked);
    response
}

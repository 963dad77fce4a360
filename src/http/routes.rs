//! The routes of both listeners.

use super::error::Failed;
use super::observe::Observed;
use super::shape::Side;
use super::state::App;
use super::{
    health, index, instances, manage, models, open_inference, openapi, predict, torchserve,
};
use crate::inference::{ErrorCode, InferError};
use crate::telemetry;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};

/// Every route of both listeners, as the routers write them: the closed list of a metric's label
/// and of the page that documents them.
pub const ROUTES: &[&str] = &[
    "/",
    "/api-description",
    "/docs",
    "/explanations/{model}",
    "/explanations/{model}/{version}",
    "/health",
    "/health/live",
    "/health/ready",
    "/livez",
    "/manage/models",
    "/manage/models/{model}",
    "/manage/models/{model}/default",
    "/manage/models/{model}/reload",
    "/manage/models/{model}/unload",
    "/manage/models/{model}/versions/{version}/default",
    "/manage/models/{model}/versions/{version}/unload",
    "/metrics",
    "/models",
    "/models/{model}",
    "/models/{model}/{version}",
    "/models/{model}/{version}/set-default",
    "/openapi.json",
    "/ping",
    "/predict",
    "/predict/{model}",
    "/predict/{model}/versions/{version}",
    "/predictions/{model}",
    "/predictions/{model}/{version}",
    "/readyz",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/models/{model}/labels/{*rest}",
    "/v1/models/{model}/metadata",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/versions/{version}/metadata",
    "/v1/models/{model}/versions/{version}:classify",
    "/v1/models/{model}/versions/{version}:explain",
    "/v1/models/{model}/versions/{version}:predict",
    "/v1/models/{model}/versions/{version}:regress",
    "/v1/models/{model}:classify",
    "/v1/models/{model}:explain",
    "/v1/models/{model}:predict",
    "/v1/models/{model}:regress",
    "/v2",
    "/v2/cudasharedmemory/{*rest}",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/logging",
    "/v2/models",
    "/v2/models/stats",
    "/v2/models/{model}",
    "/v2/models/{model}/config",
    "/v2/models/{model}/generate",
    "/v2/models/{model}/generate_stream",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/stats",
    "/v2/models/{model}/trace/setting",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/versions/{version}/config",
    "/v2/models/{model}/versions/{version}/generate",
    "/v2/models/{model}/versions/{version}/generate_stream",
    "/v2/models/{model}/versions/{version}/infer",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/versions/{version}/stats",
    "/v2/repository/index",
    "/v2/repository/models/{model}/load",
    "/v2/repository/models/{model}/unload",
    "/v2/systemsharedmemory/{*rest}",
    "/v2/trace/setting",
];

/// Routes that the management listener answers and the public one refuses.
pub(super) fn is_management_only(route: &str) -> bool {
    ["/manage/", "/models/{model}/{version}", "/v2/repository/models/"]
        .iter()
        .any(|start| route.starts_with(start))
}

/// The listener for predictions: everything that reads or predicts.
pub fn public_service(app: &App) -> Observed {
    let mut router = reading_routes(app.options.public_metrics)
        // Ours to read; TorchServe's clients, which change them, are sent to the other listener.
        .route("/models", get(models::list).post(management_only))
        .route(
            "/models/{model}",
            get(models::describe).put(management_only).delete(management_only),
        )
        .route("/openapi.json", get(openapi::public))
        .route("/api-description", get(openapi::public));
    for route in ROUTES.iter().filter(|route| is_management_only(route)) {
        router = router.route(route, any(management_only));
    }
    with_fallbacks(router, app, Side::Public)
}

/// The listener that changes state; it also does all that the public one does for predictions, so
/// that a client which knows one address works whole. `/models` on it is TorchServe's management
/// protocol.
pub fn management_service(app: &App) -> Observed {
    let router = reading_routes(true)
        .route("/openapi.json", get(openapi::management))
        .route("/api-description", get(openapi::management))
        .route("/manage/models", get(models::list))
        .route("/manage/models/{model}", get(models::describe_whole))
        .route("/manage/models/{model}/default", delete(manage::clear_default))
        .route("/manage/models/{model}/reload", post(manage::reload))
        .route("/manage/models/{model}/unload", post(manage::unload))
        .route("/manage/models/{model}/versions/{version}/default", post(manage::set_default))
        .route("/manage/models/{model}/versions/{version}/unload", post(manage::unload_version))
        .merge(open_inference::management_routes())
        .merge(torchserve::management_routes());
    with_fallbacks(router, app, Side::Management)
}

fn reading_routes(metrics: bool) -> Router<App> {
    let router = Router::new()
        .route("/", get(index::page))
        .route("/docs", get(openapi::page))
        .route("/health", get(health::summary))
        .route("/health/live", get(health::live))
        .route("/livez", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/readyz", get(health::ready))
        .route("/predict", post(predict::default_model))
        .route("/predict/{model}", post(predict::model))
        .route("/predict/{model}/versions/{version}", post(predict::version))
        .merge(instances::routes())
        .merge(open_inference::routes())
        .merge(torchserve::routes());
    if metrics { router.route("/metrics", get(self::metrics)) } else { router }
}

fn with_fallbacks(router: Router<App>, app: &App, side: Side) -> Observed {
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone());
    Observed::new(router, app, side)
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = HeaderValue::from_static(telemetry::CONTENT_TYPE);
    ([(CONTENT_TYPE, content_type)], app.metrics.render()).into_response()
}

async fn not_found() -> Failed {
    let message = "there is no such route; GET / says which there are";
    InferError::new(ErrorCode::RouteNotFound, message).into()
}

async fn method_not_allowed() -> Failed {
    let message = "the route does not take this method; the header Allow names those that it takes";
    InferError::new(ErrorCode::MethodNotAllowed, message).into()
}

async fn management_only() -> Failed {
    let message = "this route answers on the management listener only";
    InferError::new(ErrorCode::ManagementOnly, message).into()
}

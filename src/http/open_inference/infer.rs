//! Inference: JSON with tensors in it or behind it, or a tensor alone.

use crate::http::context::RequestContext;
use crate::http::error::Failed;
use crate::http::exchange;
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::http::state::App;
use crate::pipeline::Target;
use crate::protocol::open_inference::V2;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

pub(in crate::http) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Result<Response, Failed> {
    let target = named(path).map(Target::from);
    exchange::answer::<V2>(&app, &context, target, request).await
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    let target = versioned(path).map(Target::from);
    exchange::answer::<V2>(&app, &context, target, request).await
}

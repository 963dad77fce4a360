//! The native prediction routes.

use super::context::RequestContext;
use super::error::Failed;
use super::exchange;
use super::path::{NamePath, VersionPath, labeled, named, versioned};
use super::state::App;
use crate::pipeline::Target;
use crate::protocol::predict::Native;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

pub(super) async fn default_model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Failed> {
    exchange::answer::<Native>(&app, &context, Ok(Target::default()), request).await
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Result<Response, Failed> {
    let target = named(path).map(Target::from);
    exchange::answer::<Native>(&app, &context, target, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    let target = versioned(path).map(Target::from);
    exchange::answer::<Native>(&app, &context, target, request).await
}

pub(super) async fn label(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    let target = labeled(path).map(Target::from);
    exchange::answer::<Native>(&app, &context, target, request).await
}

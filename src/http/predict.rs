//! Predictions of every protocol that names its model and version by segments of a path: the handlers say which model is
//! meant, their routes in which protocol.

use super::context::RequestContext;
use super::error::Failed;
use super::exchange;
use super::path::{NamePath, VersionPath, labeled, named, versioned};
use super::state::App;
use crate::pipeline::Target;
use crate::protocol::Wire;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

pub(super) async fn default_model<W: Wire>(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Failed> {
    exchange::answer::<W>(&app, &context, Ok(Target::default()), request).await
}

pub(super) async fn model<W: Wire>(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Result<Response, Failed> {
    exchange::answer::<W>(&app, &context, named(path).map(Target::from), request).await
}

pub(super) async fn version<W: Wire>(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    exchange::answer::<W>(&app, &context, versioned(path).map(Target::from), request).await
}

pub(super) async fn label<W: Wire>(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    exchange::answer::<W>(&app, &context, labeled(path).map(Target::from), request).await
}

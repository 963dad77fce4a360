//! Predictions.

use crate::http::context::{RequestContext, UNMATCHED};
use crate::http::error::{Failed, by_other_method};
use crate::http::exchange;
use crate::http::path::{NamePath, VersionPath, label_of, model_name, model_ref, segments};
use crate::http::state::App;
use crate::inference::{ErrorCode, InferError, ModelRef, VersionSelector};
use crate::pipeline::Target;
use crate::protocol::instances::V1;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

pub(in crate::http) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Result<Response, Failed> {
    let last = segments(path)?;
    answer(&app, &context, &last, |name| model_ref(name, None), request).await
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    let (name, last) = segments(path)?;
    answer(&app, &context, &last, |version| model_ref(&name, Some(version)), request).await
}

pub(in crate::http) async fn label(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Result<Response, Failed> {
    let (name, last) = segments(path)?;
    let labeled = |label: &str| {
        let name = model_name(&name)?;
        let label = label_of(&name, label)?;
        Ok(ModelRef { name, version: VersionSelector::Label(label) })
    };
    answer(&app, &context, &last, labeled, request).await
}

/// Answers what the last segment of the path asks for: a verb behind what names a version.
async fn answer(
    app: &App,
    context: &RequestContext,
    last: &str,
    model: impl FnOnce(&str) -> Result<ModelRef, InferError>,
    request: Request,
) -> Result<Response, Failed> {
    let (last, verb) = last.split_once(':').unwrap_or((last, ""));
    if verb != "predict" {
        return refuse(context, verb);
    }
    exchange::answer::<V1>(app, context, model(last).map(Target::from), request).await
}

/// What the protocol has beside `predict` is known as a route: nothing that is served has a signature for it.
fn refuse(context: &RequestContext, verb: &str) -> Result<Response, Failed> {
    if verb.is_empty() {
        let message = "a model is asked by GET, and predictions behind its name with \":predict\"";
        return Ok(by_other_method(message, "GET,HEAD"));
    }
    // Routes are told apart by the last verb; a name has no colon, so two verbs are none.
    let error = if context.route == UNMATCHED || verb.contains(':') {
        let message = "there is no such verb, expected \":predict\"";
        InferError::new(ErrorCode::RouteNotFound, message)
    } else {
        let message = format!("{verb:?} is not supported, expected \":predict\"");
        InferError::new(ErrorCode::Unsupported, message)
    };
    Err(error.into())
}

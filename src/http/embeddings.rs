//! The routes for embeddings. The body of OpenAI's names the model: it is read before anything is known of that one.

use super::context::RequestContext;
use super::error::Failed;
use super::exchange::{self, Gathered};
use super::path::model_ref;
use super::state::App;
use crate::inference::InferError;
use crate::pipeline::{Target, off_runtime};
use crate::protocol::embeddings::{self, OpenAi, PlainEmbeddings};
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

pub(super) async fn create(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Failed> {
    let gathered = exchange::gather(&app, &context, request).await;
    let Gathered { parts, received, deadline } =
        gathered.inspect_err(|error| app.door.turned_away(error))?;
    let body = received.body.clone();
    let read = move || target(body.as_bytes());
    let target = off_runtime(received.body.len(), deadline, read).await;
    let target = target.and_then(|target| target);
    exchange::answer_gathered::<OpenAi>(&app, &context, target, &parts.headers, received).await
}

/// The same of the default model, in the words of text-embeddings-inference.
pub(super) async fn embed(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Failed> {
    let gathered = exchange::gather(&app, &context, request).await;
    let Gathered { parts, received, .. } =
        gathered.inspect_err(|error| app.door.turned_away(error))?;
    let target = Ok(Target::default());
    exchange::answer_gathered::<PlainEmbeddings>(&app, &context, target, &parts.headers, received)
        .await
}

/// The model that a body asks for, the default one where it names none.
fn target(body: &[u8]) -> Result<Target, InferError> {
    match embeddings::model(body)? {
        Some(name) => model_ref(&name, None).map(Target::from),
        None => Ok(Target::default()),
    }
}

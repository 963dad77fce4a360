//! Models and versions as paths name them.

use super::context::RequestContext;
use super::error::by_other_method;
use crate::inference::{
    ErrorCode, InferError, ModelName, ModelRef, Version, VersionLabel, VersionSelector,
};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;

/// The name of a model in a path. The extractor refuses what is not UTF-8 with a text of its own, so
/// handlers take its result.
pub(super) type NamePath = Result<Path<String>, PathRejection>;

/// The name of a model and a version of it.
pub(super) type VersionPath = Result<Path<(String, String)>, PathRejection>;

/// That a path ends with a name and no verb. What has a verb is asked by POST, and the router, which knows no verbs, brings
/// other methods to the route of the name.
pub(super) struct NoVerb;

impl<S: Sync> FromRequestParts<S> for NoVerb {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let has_verb = parts.extensions.get().is_some_and(RequestContext::has_verb);
        match has_verb {
            true => Err(by_other_method("predictions are asked by POST", "POST")),
            false => Ok(Self),
        }
    }
}

/// The default version of the model that a path names.
pub(super) fn named(path: NamePath) -> Result<ModelRef, InferError> {
    path.map_err(unreadable).and_then(|Path(name)| model_ref(&name, None))
}

/// The version that a path names.
pub(super) fn versioned(path: VersionPath) -> Result<ModelRef, InferError> {
    let (name, version) = numbered(path)?;
    Ok(ModelRef { name, version: VersionSelector::Specific(version) })
}

/// The same as name and number.
pub(super) fn numbered(path: VersionPath) -> Result<(ModelName, Version), InferError> {
    let Path((name, version)) = path.map_err(unreadable)?;
    let name = model_name(&name)?;
    let version = version_of(&name, &version)?;
    Ok((name, version))
}

/// The version that bears the label that a path names.
pub(super) fn labeled(path: VersionPath) -> Result<ModelRef, InferError> {
    let (name, label) = name_and_label(path)?;
    Ok(ModelRef { name, version: VersionSelector::Label(label) })
}

/// The same as name and label.
pub(super) fn name_and_label(path: VersionPath) -> Result<(ModelName, VersionLabel), InferError> {
    let Path((name, label)) = path.map_err(unreadable)?;
    let name = model_name(&name)?;
    let label = label_of(&name, &label)?;
    Ok((name, label))
}

/// The segments as they are written, for paths whose last one holds more than a name or a version.
pub(super) fn segments<T>(path: Result<Path<T>, PathRejection>) -> Result<T, InferError> {
    path.map(|Path(segments)| segments).map_err(unreadable)
}

fn unreadable(_: PathRejection) -> InferError {
    InferError::new(ErrorCode::ModelNotFound, "no model has this name: it is not UTF-8")
}

/// A reference from path segments. Text outside the grammar names nothing, so it is not found; it
/// is not repeated either, since it may be anything.
pub(super) fn model_ref(name: &str, version: Option<&str>) -> Result<ModelRef, InferError> {
    let name = model_name(name)?;
    let version = match version {
        None => VersionSelector::Default,
        Some(text) => VersionSelector::Specific(version_of(&name, text)?),
    };
    Ok(ModelRef { name, version })
}

pub(super) fn model_name(text: &str) -> Result<ModelName, InferError> {
    text.parse().map_err(|_| {
        InferError::new(
            ErrorCode::ModelNotFound,
            "no model has this name: it is outside the grammar of names",
        )
    })
}

/// A label from a path segment.
pub(super) fn label_of(name: &ModelName, text: &str) -> Result<VersionLabel, InferError> {
    text.parse().map_err(|_| {
        let message = "the model has no such label: it is outside the grammar of names";
        InferError::new(ErrorCode::VersionNotFound, message).with_model(name)
    })
}

pub(super) fn version_of(name: &ModelName, text: &str) -> Result<Version, InferError> {
    text.parse().map_err(|_| {
        let message =
            "the model has no such version: versions are whole numbers without leading zeros";
        InferError::new(ErrorCode::VersionNotFound, message).with_model(name)
    })
}

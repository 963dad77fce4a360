//! The operations of our own routes.

use super::operation::{Content, On, Operation};
use crate::inference::ErrorCode;

/// Why a prediction may fail, in whatever words it comes.
pub(super) const PREDICTION: &[ErrorCode] = &[
    ErrorCode::InvalidJson,
    ErrorCode::InvalidBody,
    ErrorCode::InvalidInput,
    ErrorCode::ModelNotFound,
    ErrorCode::BodyTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::QueueFull,
    ErrorCode::InferenceFailed,
    ErrorCode::Unsupported,
    ErrorCode::ModelNotReady,
    ErrorCode::Draining,
    ErrorCode::Overloaded,
    ErrorCode::OutOfMemory,
    ErrorCode::DeadlineExceeded,
];

/// Why an order to a model may fail.
pub(super) const ORDER: &[ErrorCode] =
    &[ErrorCode::ModelNotFound, ErrorCode::Conflict, ErrorCode::Draining];

/// The route names a version.
pub(super) const VERSION: &[ErrorCode] = &[ErrorCode::VersionNotFound];

const fn read(content: &'static [(u16, &'static [Content])]) -> Operation {
    Operation { gives: content, ..Operation::new("get", "Server") }
}

const JSON: Operation = read(&[(200, &[Content::json("Document")])]);
const HTML: Operation = read(&[(200, &[Content::text("text/html")])]);
const LIVE: Operation = read(&[(200, &[Content::json("Live")])]);
const READY: Operation =
    read(&[(200, &[Content::json("Ready")]), (503, &[Content::json("Ready")])]);

const MODELS: Operation = Operation { tag: "Models", ..read(&[(200, &[Content::json("Models")])]) };
const MODEL: Operation = Operation {
    tag: "Models",
    fails: &[&[ErrorCode::ModelNotFound]],
    ..read(&[(200, &[Content::json("Model")])])
};

const PREDICT: Operation = Operation {
    takes: &[Content::json("PredictRequest"), Content::BYTES],
    gives: &[(200, &[Content::json("Prediction")])],
    fails: &[PREDICTION],
    predicts: true,
    ..Operation::new("post", "Predict")
};

const MANAGE: Operation = Operation {
    on: On::Management,
    gives: &[(200, &[Content::json("Model")])],
    fails: &[ORDER],
    ..Operation::new("post", "Manage")
};
const MANAGE_VERSION: Operation = Operation { fails: &[ORDER, VERSION], ..MANAGE };

/// A reload answers when the model serves, or says why it does not.
const RELOAD: Operation = Operation { fails: &[ORDER, &[ErrorCode::ModelNotReady]], ..MANAGE };

pub(super) const OPERATIONS: &[Operation] = &[
    HTML.at("/", "A page for people: the models, with a command that calls each."),
    HTML.at("/docs", "The page that shows this document and sends requests."),
    Operation {
        gives: &[(200, &[Content::json("Summary")]), (503, &[Content::json("Summary")])],
        ..READY
    }
    .at("/health", "Readiness, and a summary of the models."),
    LIVE.at("/health/live", "Whether the process answers."),
    READY.at("/health/ready", "Whether traffic should come here."),
    LIVE.at("/livez", "The same as /health/live."),
    Operation { on: On::Management, ..MODELS }.at("/manage/models", "The models and their states."),
    Operation { on: On::Management, ..MODEL }
        .at("/manage/models/{model}", "All that is known about one model."),
    Operation { method: "delete", ..MANAGE }.at(
        "/manage/models/{model}/default",
        "Makes the highest version that is ready the default again.",
    ),
    RELOAD.at(
        "/manage/models/{model}/reload",
        "Reads the model's folder again; answers when what it holds serves.",
    ),
    MANAGE.at(
        "/manage/models/{model}/unload",
        "Lets the model go, until it is reloaded; answers at once.",
    ),
    MANAGE_VERSION.at(
        "/manage/models/{model}/versions/{version}/default",
        "Makes this version the default, also after a restart.",
    ),
    MANAGE_VERSION.at(
        "/manage/models/{model}/versions/{version}/unload",
        "Lets this version go, until the model is reloaded.",
    ),
    read(&[(200, &[Content::text("text/plain")])])
        .at("/metrics", "Metrics in Prometheus' text format."),
    Operation { on: On::Public, ..MODELS }.at("/models", "The models and their states."),
    Operation { on: On::Public, ..MODEL }
        .at("/models/{model}", "All that is known about one model."),
    JSON.at("/openapi.json", "This document."),
    Operation { fails: &[PREDICTION, &[ErrorCode::ModelRequired]], ..PREDICT }
        .at("/predict", "A prediction of the default model, or of the only one."),
    PREDICT.at("/predict/{model}", "A prediction of the model's default version."),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }
        .at("/predict/{model}/versions/{version}", "A prediction of this version."),
    READY.at("/readyz", "The same as /health/ready."),
];

//! Our own routes.

use super::codes::{ORDER, PREDICTION, VERSION};
use crate::http::route::{
    BOTH, Content, Gives, MANAGEMENT, Methods, Operation, PUBLIC, Protocol, Rights, Route,
};
use crate::http::{
    drift, events, feedback, health, index, manage, metrics, models, openapi, predict, rollouts,
};
use crate::inference::ErrorCode;
use crate::protocol::predict::Native;

const fn ours(methods: Methods, tag: &'static str) -> Operation {
    Operation::new(methods, Protocol::Native, tag)
}

const fn read(gives: Gives) -> Operation {
    Operation { gives, ..ours(Methods::Get, "Server") }
}

const JSON: Operation = read(&[(200, &[Content::json("Document")])]);
const HTML: Operation = read(&[(200, &[Content::text("text/html")])]);
const LIVE: Operation = read(&[(200, &[Content::json("Live")])]);
const READY: Operation =
    read(&[(200, &[Content::json("Ready")]), (503, &[Content::json("Ready")])]);
const SUMMARY: Operation =
    read(&[(200, &[Content::json("Summary")]), (503, &[Content::json("Summary")])]);
const METRICS: Operation = Operation { rights: Rights::Metrics, ..read(&[(200, METRICS_TEXTS)]) };
const METRICS_TEXTS: &[Content] =
    &[Content::text("text/plain"), Content::text("application/openmetrics-text")];

const MODELS: Operation = Operation {
    sides: PUBLIC,
    gives: &[(200, &[Content::json("Models")])],
    ..ours(Methods::Get, "Models")
};
const MANAGED: Operation =
    Operation { gives: &[(200, &[Content::json("ManagedModels")])], ..MODELS };
const MODEL: Operation = Operation {
    gives: &[(200, &[Content::json("Model")])],
    fails: &[&[ErrorCode::ModelNotFound]],
    ..MODELS
};

const PREDICT: Operation = Operation {
    rights: Rights::Predict,
    takes: &[Content::json("PredictRequest"), Content::BYTES],
    gives: &[(200, &[Content::json("Prediction")])],
    fails: &[PREDICTION],
    ..ours(Methods::Post, "Predict")
};

const FEEDBACK: Operation = Operation {
    rights: Rights::Feedback,
    takes: &[Content::json("FeedbackRequest")],
    gives: &[(202, &[Content::json("FeedbackReceipt")])],
    fails: &[&[
        ErrorCode::ModelNotFound,
        ErrorCode::InvalidJson,
        ErrorCode::InvalidBody,
        ErrorCode::BodyTooLarge,
        ErrorCode::Forbidden,
        ErrorCode::Unsupported,
    ]],
    ..ours(Methods::Post, "Feedback")
};

/// Says more than what everybody may read.
const fn for_operators(operation: Operation) -> Operation {
    Operation { sides: MANAGEMENT, rights: Rights::Manage, ..operation }
}

const MANAGE: Operation = for_operators(Operation {
    gives: &[(200, &[Content::json("Model")])],
    fails: &[ORDER],
    ..ours(Methods::Post, "Manage")
});
const MANAGE_VERSION: Operation = Operation { fails: &[ORDER, VERSION], ..MANAGE };

/// A reload answers when the model serves, or says why it does not.
const RELOAD: Operation = Operation { fails: &[ORDER, &[ErrorCode::ModelNotReady]], ..MANAGE };

pub(super) const ROUTES: &[Route] = &[
    HTML.at("/", "A page for people: the models, with a command that calls each.", |place| {
        place.to(index::page)
    }),
    HTML.at("/docs", "The page that shows this document and sends requests.", |place| {
        place.to(openapi::page)
    }),
    FEEDBACK.at(
        "/feedback/{model}",
        "Takes labels of answers that came with a token.",
        |place| place.to(feedback::by_token),
    ),
    SUMMARY.at("/health", "Readiness, and a summary of the models.", |place| {
        place.to(health::summary)
    }),
    LIVE.at("/health/live", "Whether the process answers.", |place| place.to(health::live)),
    READY.at("/health/ready", "Whether traffic should come here.", |place| place.to(health::ready)),
    LIVE.at("/livez", "The same as /health/live.", |place| place.to(health::live)),
    for_operators(MANAGED).at(
        "/manage/models",
        "The models and their states, with roll-outs and problems.",
        |place| place.to(models::list_whole),
    ),
    for_operators(MODEL).at(
        "/manage/models/{model}",
        "All that is known about one model.",
        |place| place.to(models::describe_whole),
    ),
    for_operators(FEEDBACK).at(
        "/manage/models/{model}/feedback",
        "Takes labels of answers, also of such as the caller repeats.",
        |place| place.to(feedback::by_token_or_told),
    ),
    Operation { methods: Methods::Delete, ..MANAGE }.at(
        "/manage/models/{model}/default",
        "Makes the highest version that is ready the default again.",
        |place| place.to(manage::clear_default),
    ),
    RELOAD.at(
        "/manage/models/{model}/reload",
        "Reads the model's folder again; answers when what it holds serves.",
        |place| place.to(manage::reload),
    ),
    for_operators(Operation { gives: &[(200, &[Content::json("Rollout")])], ..MODEL }).at(
        "/manage/models/{model}/rollout",
        "What is known of the roll-out under way.",
        |place| place.to(rollouts::show),
    ),
    RELOAD.at(
        "/manage/models/{model}/rollout/abort",
        "Has the old version serve alone, and rejects the new one.",
        |place| place.to(rollouts::abort),
    ),
    RELOAD.at(
        "/manage/models/{model}/rollout/promote",
        "Has the new version serve alone.",
        |place| place.to(rollouts::promote),
    ),
    Operation { fails: &[ORDER, &[ErrorCode::InvalidRequest]], ..MANAGE }.at(
        "/manage/models/{model}/rollout/weight/{percent}",
        "Gives the new version this percentage of the requests; steps then wait for operators.",
        |place| place.to(rollouts::weight),
    ),
    MANAGE.at(
        "/manage/models/{model}/unload",
        "Lets the model go, until it is reloaded; answers at once.",
        |place| place.to(manage::unload),
    ),
    MANAGE_VERSION.at(
        "/manage/models/{model}/versions/{version}/default",
        "Makes this version the default, also after a restart.",
        |place| place.to(manage::set_default),
    ),
    Operation { fails: &[ORDER, VERSION, &[ErrorCode::ModelNotReady]], ..MANAGE }.at(
        "/manage/models/{model}/versions/{version}/rollout",
        "Loads this version of the folder beside the one that serves, and begins its roll-out.",
        |place| place.to(rollouts::start),
    ),
    MANAGE_VERSION.at(
        "/manage/models/{model}/versions/{version}/unload",
        "Lets this version go, until the model is reloaded.",
        |place| place.to(manage::unload_version),
    ),
    Operation { methods: Methods::Delete, fails: &[ORDER, VERSION], ..MANAGE }.at(
        "/manage/models/{model}/labels/{label}",
        "Has the label name nothing any more.",
        |place| place.to(manage::remove_label),
    ),
    Operation { fails: &[ORDER, VERSION, &[ErrorCode::ModelNotReady]], ..MANAGE }.at(
        "/manage/models/{model}/versions/{version}/accept",
        "Takes the rejection of this version back.",
        |place| place.to(manage::accept),
    ),
    MANAGE_VERSION.at(
        "/manage/models/{model}/versions/{version}/labels/{label}",
        "Has the label name this version, also after a restart.",
        |place| place.to(manage::set_label),
    ),
    Operation { fails: &[ORDER, VERSION, &[ErrorCode::ModelNotReady]], ..MANAGE }.at(
        "/manage/models/{model}/versions/{version}/reject",
        "Goes back from this version: its file is not served again, what the folder holds beside it takes its place.",
        |place| place.to(manage::reject),
    ),
    for_operators(Operation {
        query: &[("since", "integer"), ("follow", "boolean")],
        fails: &[&[ErrorCode::InvalidRequest, ErrorCode::QueueFull]],
        ..read(&[(200, &[Content::json("Events"), Content::text("application/x-ndjson")])])
    })
    .at("/manage/events", "What happened to models; with follow=true as it comes, a line each.", |place| {
        place.to(events::list)
    }),
    METRICS.at("/metrics", "Metrics in Prometheus' text format.", |place| place.to(metrics::page)),
    MODELS.at("/models", "The models and their states.", |place| place.to(models::list)),
    MODEL.at("/models/{model}", "All that is known about one model.", |place| {
        place.to(models::describe)
    }),
    Operation { sides: BOTH, gives: &[(200, &[Content::json("Drift")])], ..MODEL }.at(
        "/models/{model}/drift",
        "How requests of today stand beside the references of the model's versions.",
        |place| place.to(drift::show),
    ),
    Operation { sides: BOTH, gives: &[(200, &[Content::json("Quality")])], ..MODEL }.at(
        "/models/{model}/quality",
        "What labels that came back say of the model's versions.",
        |place| place.to(feedback::quality),
    ),
    JSON.at("/openapi.json", "This document.", openapi::document),
    Operation { fails: &[PREDICTION, &[ErrorCode::ModelRequired]], ..PREDICT }.at(
        "/predict",
        "A prediction of the default model, or of the only one.",
        |place| place.to(predict::default_model::<Native>),
    ),
    PREDICT.at("/predict/{model}", "A prediction of the model's default version.", |place| {
        place.to(predict::model::<Native>)
    }),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }.at(
        "/predict/{model}/labels/{label}",
        "A prediction of the version that bears this label.",
        |place| place.to(predict::label::<Native>),
    ),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }.at(
        "/predict/{model}/versions/{version}",
        "A prediction of this version.",
        |place| place.to(predict::version::<Native>),
    ),
    READY.at("/readyz", "The same as /health/ready.", |place| place.to(health::ready)),
];

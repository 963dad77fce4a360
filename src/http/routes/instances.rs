//! The routes of TensorFlow Serving's protocol, which KServe calls V1.
//!
//! A verb stands behind a colon in the last segment. The router does not know those: it gives the segment
//! to the handler of `:predict`, which refuses the others.

use super::codes::{FOUND, NEVER, PREDICTION, READ, VERSION};
use crate::http::instances::{metadata, predict, status};
use crate::http::route::{Content, Gives, Methods, Operation, Protocol, Rights, Route};

const fn get(gives: Gives) -> Operation {
    let tag = "TensorFlow Serving, KServe V1";
    Operation { gives, ..Operation::new(Methods::Get, Protocol::Instances, tag) }
}

const STATUS: Operation =
    Operation { fails: &[FOUND], ..get(&[(200, &[Content::json("V1Status")])]) };
const METADATA: Operation =
    Operation { fails: &[READ], ..get(&[(200, &[Content::json("Document")])]) };

const PREDICT: Operation = Operation {
    methods: Methods::Post,
    rights: Rights::Predict,
    takes: &[Content::json("V1Request")],
    fails: &[PREDICTION],
    ..get(&[(200, &[Content::json("V1Answer")])])
};

const NO_VERB: Operation = Operation { methods: Methods::Post, fails: &[NEVER], ..get(&[]) };

const fn model_verb(path: &'static str) -> Route {
    NO_VERB.at(path, "Not supported.", |place| place.to(predict::model))
}

const fn version_verb(path: &'static str) -> Route {
    NO_VERB.at(path, "Not supported.", |place| place.to(predict::version))
}

const fn label_verb(path: &'static str) -> Route {
    NO_VERB.at(path, "Not supported.", |place| place.to(predict::label))
}

pub(super) const ROUTES: &[Route] = &[
    get(&[(200, &[Content::json("V1Models")])]).at(
        "/v1/models",
        "The names of the models.",
        |place| place.to(status::list),
    ),
    STATUS.at(
        "/v1/models/{model}",
        "Whether the model is ready, and the states of its versions.",
        |place| place.to(status::model),
    ),
    Operation { fails: &[FOUND, VERSION], ..STATUS }.at(
        "/v1/models/{model}/labels/{label}",
        "The state of the version that bears this label.",
        |place| place.to(status::label),
    ),
    Operation { fails: &[READ, VERSION], ..METADATA }.at(
        "/v1/models/{model}/labels/{label}/metadata",
        "The signature of the version that bears this label.",
        |place| place.to(metadata::label),
    ),
    label_verb("/v1/models/{model}/labels/{label}:classify"),
    label_verb("/v1/models/{model}/labels/{label}:explain"),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }.at(
        "/v1/models/{model}/labels/{label}:predict",
        "A prediction of the version that bears this label.",
        |place| place.to(predict::label),
    ),
    label_verb("/v1/models/{model}/labels/{label}:regress"),
    METADATA.at("/v1/models/{model}/metadata", "The model's signature.", |place| {
        place.to(metadata::model)
    }),
    Operation { fails: &[FOUND, VERSION], ..STATUS }.at(
        "/v1/models/{model}/versions/{version}",
        "The state of this version.",
        |place| place.to(status::version),
    ),
    Operation { fails: &[READ, VERSION], ..METADATA }.at(
        "/v1/models/{model}/versions/{version}/metadata",
        "This version's signature.",
        |place| place.to(metadata::version),
    ),
    version_verb("/v1/models/{model}/versions/{version}:classify"),
    version_verb("/v1/models/{model}/versions/{version}:explain"),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }.at(
        "/v1/models/{model}/versions/{version}:predict",
        "A prediction of this version.",
        |place| place.to(predict::version),
    ),
    version_verb("/v1/models/{model}/versions/{version}:regress"),
    model_verb("/v1/models/{model}:classify"),
    model_verb("/v1/models/{model}:explain"),
    PREDICT.at(
        "/v1/models/{model}:predict",
        "A prediction of the model's default version.",
        |place| place.to(predict::model),
    ),
    model_verb("/v1/models/{model}:regress"),
];

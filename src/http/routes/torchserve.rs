//! The routes of TorchServe's protocols: predictions on both listeners, and the management of models
//! on its own.

use super::codes::{FOUND, NEVER, ORDER, PREDICTION, VERSION};
use crate::http::route::{Content, Gives, MANAGEMENT, Methods, Operation, Protocol, Rights, Route};
use crate::http::torchserve::{describe, explanations, manage, ping};
use crate::http::{openapi, predict};
use crate::protocol::torchserve::TorchServe;

const fn get(gives: Gives) -> Operation {
    Operation { gives, ..Operation::new(Methods::Get, Protocol::TorchServe, "TorchServe") }
}

const PREDICT: Operation = Operation {
    methods: Methods::Post,
    rights: Rights::Predict,
    takes: &[
        Content::json("TorchServeRequest"),
        Content::BYTES,
        Content { media_type: "multipart/form-data", schema: "Document" },
    ],
    fails: &[PREDICTION],
    ..get(&[(200, &[Content::json("TorchServeAnswer")])])
};
const PREDICT_VERSION: Operation = Operation { fails: &[PREDICTION, VERSION], ..PREDICT };
const NO_EXPLANATION: Operation = Operation { methods: Methods::Any, fails: &[NEVER], ..get(&[]) };

const READ: Operation = Operation { sides: MANAGEMENT, ..get(&[]) };
const DESCRIBE: Operation =
    Operation { gives: &[(200, &[Content::json("TorchServeModel")])], fails: &[FOUND], ..READ };

const DONE: Gives = &[(200, &[Content::json("TorchServeStatus")])];

/// An order of this method.
const fn manage(methods: Methods) -> Operation {
    Operation { methods, rights: Rights::Manage, ..READ }
}

const fn change(methods: Methods) -> Operation {
    Operation { gives: DONE, fails: &[ORDER], ..manage(methods) }
}

const fn change_version(methods: Methods) -> Operation {
    Operation { fails: &[ORDER, VERSION], ..change(methods) }
}

const fn unsupported(methods: Methods) -> Operation {
    Operation { fails: &[NEVER], ..manage(methods) }
}

const SCALE: &str = "Not supported: set the instances in model.toml instead.";

pub(super) const ROUTES: &[Route] = &[
    get(&[(200, &[Content::json("Document")])]).at(
        "/api-description",
        "This document, where TorchServe's clients look for it.",
        openapi::document,
    ),
    NO_EXPLANATION.at("/explanations/{model}", "Not supported.", |place| place.to(explanations)),
    NO_EXPLANATION
        .at("/explanations/{model}/{version}", "Not supported.", |place| place.to(explanations)),
    Operation {
        query: &[("limit", "integer"), ("next_page_token", "integer")],
        gives: &[(200, &[Content::json("TorchServeModels")])],
        ..READ
    }
    .at("/models", "The models that are registered.", |place| place.to(describe::list)),
    unsupported(Methods::Post).at("/models", "Not supported: reload the model instead.", |place| {
        place.to(manage::register)
    }),
    DESCRIBE
        .at("/models/{model}", "The model's default version.", |place| place.to(describe::default)),
    unsupported(Methods::Put).at("/models/{model}", SCALE, |place| place.to(manage::scale)),
    change(Methods::Delete)
        .at("/models/{model}", "Lets the model go.", |place| place.to(manage::unregister)),
    Operation { fails: &[FOUND, VERSION], ..DESCRIBE }.at(
        "/models/{model}/{version}",
        "This version, or every one for `all`.",
        |place| place.to(describe::version),
    ),
    unsupported(Methods::Put)
        .at("/models/{model}/{version}", SCALE, |place| place.to(manage::scale)),
    change_version(Methods::Delete).at(
        "/models/{model}/{version}",
        "Lets this version go.",
        |place| place.to(manage::unregister_version),
    ),
    change_version(Methods::Put).at(
        "/models/{model}/{version}/set-default",
        "Makes this version the default.",
        |place| place.to(manage::set_default),
    ),
    get(&[
        (200, &[Content::json("TorchServeStatus")]),
        (500, &[Content::json("TorchServeStatus")]),
    ])
    .at("/ping", "Whether traffic should come here.", |place| place.to(ping::ping)),
    PREDICT.at("/predictions/{model}", "A prediction of the model's default version.", |place| {
        place.to(predict::model::<TorchServe>)
    }),
    Operation { methods: Methods::Put, ..PREDICT }.at(
        "/predictions/{model}",
        "A prediction of the model's default version.",
        |place| place.to(predict::model::<TorchServe>),
    ),
    PREDICT_VERSION.at(
        "/predictions/{model}/{version}",
        "A prediction of this version.",
        |place| place.to(predict::version::<TorchServe>),
    ),
    Operation { methods: Methods::Put, ..PREDICT_VERSION }.at(
        "/predictions/{model}/{version}",
        "A prediction of this version.",
        |place| place.to(predict::version::<TorchServe>),
    ),
];

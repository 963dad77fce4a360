//! The routes of the Open Inference Protocol V2, with the extensions that Triton's clients use.

use super::codes::{BODY, FOUND, NEVER, ORDER, PREDICTION, READ, VERSION};
use crate::http::open_inference::{config, metadata, repository, statistics, unsupported};
use crate::http::predict;
use crate::http::route::{Content, Gives, MANAGEMENT, Methods, Operation, Protocol, Rights, Route};
use crate::inference::ErrorCode;
use crate::protocol::open_inference::V2;

const fn get(gives: Gives) -> Operation {
    let tag = "Open Inference Protocol V2";
    Operation { gives, ..Operation::new(Methods::Get, Protocol::OpenInference, tag) }
}

const fn model(gives: Gives) -> Operation {
    Operation { fails: &[READ], ..get(gives) }
}

const fn version(gives: Gives) -> Operation {
    Operation { fails: &[READ, VERSION], ..get(gives) }
}

const METADATA: Gives = &[(200, &[Content::json("V2Model")])];
const CONFIG: Gives = &[(200, &[Content::json("V2Config")])];
const STATISTICS: Gives = &[(200, &[Content::json("V2Statistics")])];
const READY: Gives =
    &[(200, &[Content::json("V2ModelReady")]), (503, &[Content::json("V2ModelReady")])];

const INFER: Operation = Operation {
    methods: Methods::Post,
    rights: Rights::Predict,
    takes: &[Content::json("V2Request"), Content::BYTES],
    fails: &[PREDICTION],
    ..get(&[(200, &[Content::json("V2Answer"), Content::BYTES])])
};

const UNSUPPORTED: Operation = Operation { methods: Methods::Any, fails: &[NEVER], ..get(&[]) };

const CHANGE: Operation = Operation {
    methods: Methods::Post,
    sides: MANAGEMENT,
    rights: Rights::Manage,
    takes: &[Content::json("V2Change")],
    ..get(&[(200, &[])])
};

pub(super) const ROUTES: &[Route] = &[
    get(&[(200, &[Content::json("V2Server")])]).at(
        "/v2",
        "Name, version and extensions.",
        |place| place.to(metadata::server),
    ),
    UNSUPPORTED.at("/v2/cudasharedmemory/{*rest}", "Not supported.", |place| {
        place.to(unsupported::cuda_shared_memory)
    }),
    get(&[(200, &[Content::json("V2Live")])]).at(
        "/v2/health/live",
        "Whether the process answers.",
        |place| place.to(metadata::live),
    ),
    get(&[(200, &[Content::json("V2Ready")]), (503, &[Content::json("V2Ready")])]).at(
        "/v2/health/ready",
        "Whether traffic should come here.",
        |place| place.to(metadata::ready),
    ),
    UNSUPPORTED.at("/v2/logging", "Not supported.", |place| place.to(unsupported::logging)),
    get(&[(200, &[Content::json("V2Models")])]).at(
        "/v2/models",
        "The names of the models.",
        |place| place.to(metadata::list),
    ),
    get(STATISTICS).at(
        "/v2/models/stats",
        "Statistics of every version that is loaded.",
        |place| place.to(statistics::all),
    ),
    model(METADATA).at("/v2/models/{model}", "Versions, inputs and outputs of a model.", |place| {
        place.to(metadata::model)
    }),
    model(CONFIG).at(
        "/v2/models/{model}/config",
        "The model in the words of a configuration.",
        |place| place.to(config::model),
    ),
    UNSUPPORTED.at("/v2/models/{model}/generate", "Not supported.", |place| {
        place.to(unsupported::generation)
    }),
    UNSUPPORTED.at("/v2/models/{model}/generate_stream", "Not supported.", |place| {
        place.to(unsupported::generation)
    }),
    INFER.at("/v2/models/{model}/infer", "A prediction of the model's default version.", |place| {
        place.to(predict::model::<V2>)
    }),
    Operation { fails: &[FOUND], ..get(READY) }.at(
        "/v2/models/{model}/ready",
        "Whether the model answers.",
        |place| place.to(metadata::model_ready),
    ),
    model(STATISTICS).at(
        "/v2/models/{model}/stats",
        "Statistics of the model's versions.",
        |place| place.to(statistics::model),
    ),
    UNSUPPORTED.at("/v2/models/{model}/trace/setting", "Not supported.", |place| {
        place.to(unsupported::trace_settings)
    }),
    version(METADATA).at(
        "/v2/models/{model}/versions/{version}",
        "Inputs and outputs of this version.",
        |place| place.to(metadata::version),
    ),
    version(CONFIG).at(
        "/v2/models/{model}/versions/{version}/config",
        "This version in the words of a configuration.",
        |place| place.to(config::version),
    ),
    UNSUPPORTED.at("/v2/models/{model}/versions/{version}/generate", "Not supported.", |place| {
        place.to(unsupported::generation)
    }),
    UNSUPPORTED.at(
        "/v2/models/{model}/versions/{version}/generate_stream",
        "Not supported.",
        |place| place.to(unsupported::generation),
    ),
    Operation { fails: &[PREDICTION, VERSION], ..INFER }.at(
        "/v2/models/{model}/versions/{version}/infer",
        "A prediction of this version.",
        |place| place.to(predict::version::<V2>),
    ),
    Operation { fails: &[FOUND, VERSION], ..get(READY) }.at(
        "/v2/models/{model}/versions/{version}/ready",
        "Whether this version answers.",
        |place| place.to(metadata::version_ready),
    ),
    version(STATISTICS).at(
        "/v2/models/{model}/versions/{version}/stats",
        "Statistics of this version.",
        |place| place.to(statistics::version),
    ),
    Operation {
        methods: Methods::Post,
        takes: &[Content::json("V2IndexRequest")],
        fails: &[BODY],
        ..get(&[(200, &[Content::json("V2Index")])])
    }
    .at("/v2/repository/index", "The models, their versions and states.", |place| {
        place.to(repository::index)
    }),
    Operation {
        fails: &[BODY, ORDER, &[ErrorCode::ModelNotReady, ErrorCode::Unsupported]],
        ..CHANGE
    }
    .at("/v2/repository/models/{model}/load", "Reads the model's folder again.", |place| {
        place.to(repository::load)
    }),
    Operation { fails: &[BODY, ORDER, &[ErrorCode::Unsupported]], ..CHANGE }.at(
        "/v2/repository/models/{model}/unload",
        "Lets the model go.",
        |place| place.to(repository::unload),
    ),
    UNSUPPORTED.at("/v2/systemsharedmemory/{*rest}", "Not supported.", |place| {
        place.to(unsupported::system_shared_memory)
    }),
    UNSUPPORTED
        .at("/v2/trace/setting", "Not supported.", |place| place.to(unsupported::trace_settings)),
];

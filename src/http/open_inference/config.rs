//! A model as Triton's configuration describes it, as far as that has a meaning here.
//!
//! `max_batch_size` above 0 says that requests may share runs and that the first dimension of every
//! tensor counts rows; the dimensions that are listed are then those of a row.

use super::metadata::wire_shape;
use crate::http::error::Failed;
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::http::state::App;
use crate::inference::{ModelRef, TensorSpec};
use crate::repository::ModelHandle;
use crate::tensor::DataType;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub(in crate::http) async fn model(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Value>, Failed> {
    answer(&app, &named(path)?)
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    answer(&app, &versioned(path)?)
}

fn answer(app: &App, model: &ModelRef) -> Result<Json<Value>, Failed> {
    Ok(Json(document(&app.repository.resolve(model)?)))
}

fn document(handle: &ModelHandle) -> Value {
    let (spec, facts) = (handle.interface(), handle.facts());
    let batches = spec.batching.is_allowed();
    let device = facts.device.to_string();
    let (kind, gpus) = match device.strip_prefix("cuda:") {
        Some(index) => ("KIND_GPU", vec![index.parse::<usize>().unwrap_or(0)]),
        None => ("KIND_CPU", vec![]),
    };
    let mut document = json!({
        "name": handle.name().as_str(),
        "platform": facts.format.platform(),
        "backend": "pytorch",
        "version_policy": {"specific": {"versions": [handle.version().0]}},
        "max_batch_size": if batches { facts.batch_size.rows } else { 0 },
        "input": spec.asked().map(|it| tensor(it, batches, true)).collect::<Vec<_>>(),
        "output": spec.outputs.iter().map(|it| tensor(it, batches, false)).collect::<Vec<_>>(),
        "instance_group": [{
            "name": handle.name().as_str(),
            "kind": kind,
            "count": handle.scheduler().status().instances,
            "gpus": gpus,
        }],
        "default_model_filename": facts.format.file_name(),
        "model_transaction_policy": {"decoupled": false},
        "response_cache": {"enable": false},
    });
    if batches {
        let delay = facts.max_queue_delay.as_micros();
        document["dynamic_batching"] =
            json!({"preferred_batch_size": [], "max_queue_delay_microseconds": delay});
    }
    document
}

fn tensor(spec: &TensorSpec, batches: bool, is_input: bool) -> Value {
    let shape = wire_shape(spec);
    let dims = if batches { shape.get(1..).unwrap_or_default() } else { &shape };
    let mut document = json!({
        "name": &*spec.name,
        "data_type": data_type(spec.datatype),
        "dims": dims,
    });
    if is_input {
        document["optional"] = json!(spec.optional);
    }
    document
}

/// The configuration's word for a datatype.
fn data_type(datatype: DataType) -> String {
    match datatype {
        DataType::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}

//! Inputs and outputs, as TensorFlow Serving describes them.

use crate::http::error::Failed;
use crate::http::path::{NamePath, VersionPath, labeled, named, versioned};
use crate::http::state::App;
use crate::inference::{ModelRef, TensorSpec};
use crate::protocol::instances::SIGNATURE;
use crate::repository::ModelHandle;
use crate::tensor::DataType;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

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

pub(in crate::http) async fn label(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    answer(&app, &labeled(path)?)
}

fn answer(app: &App, model: &ModelRef) -> Result<Json<Value>, Failed> {
    Ok(Json(document(&app.repository.resolve(model)?)))
}

fn document(handle: &ModelHandle) -> Value {
    let spec = handle.interface();
    let signature = json!({
        "inputs": tensors(spec.asked()),
        "outputs": tensors(spec.outputs.iter()),
        "method_name": "tensorflow/serving/predict",
    });
    json!({
        "model_spec": {
            "name": handle.name().as_str(),
            "signature_name": "",
            "version": handle.version().to_string(),
        },
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    })
}

fn tensors<'s>(specs: impl Iterator<Item = &'s TensorSpec>) -> Map<String, Value> {
    specs.map(|spec| (spec.name.to_string(), tensor(spec))).collect()
}

fn tensor(spec: &TensorSpec) -> Value {
    let dims = spec.shape.to_wire();
    // Numbers of 64 bits are texts where Protocol Buffers are written as JSON.
    let dim = |size: &i64| json!({"size": size.to_string(), "name": ""});
    json!({
        "dtype": dtype(spec.datatype),
        "tensor_shape": {
            "dim": dims.iter().flatten().map(dim).collect::<Vec<_>>(),
            "unknown_rank": dims.is_none(),
        },
        "name": &*spec.name,
    })
}

/// TensorFlow's word for a datatype.
fn dtype(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Bool => "DT_BOOL",
        DataType::UInt8 => "DT_UINT8",
        DataType::UInt16 => "DT_UINT16",
        DataType::UInt32 => "DT_UINT32",
        DataType::UInt64 => "DT_UINT64",
        DataType::Int8 => "DT_INT8",
        DataType::Int16 => "DT_INT16",
        DataType::Int32 => "DT_INT32",
        DataType::Int64 => "DT_INT64",
        DataType::Fp16 => "DT_HALF",
        DataType::Bf16 => "DT_BFLOAT16",
        DataType::Fp32 => "DT_FLOAT",
        DataType::Fp64 => "DT_DOUBLE",
        DataType::Bytes => "DT_STRING",
    }
}

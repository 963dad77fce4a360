//! What clients send and get, as text and bytes.

use super::*;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor};
use crate::protocol::testing::input;
use crate::tensor::{DataType, Shape, Tensor};

mod answers;
mod binary;
mod requests;

fn spec(inputs: &[(&str, DataType, Option<&[i64]>)], outputs: &[&str]) -> ModelSpec {
    let inputs = inputs.iter().map(|&(name, datatype, shape)| input(name, datatype, shape, false));
    let output = |name: &&str| input(name, DataType::Fp32, Some(&[-1, 3]), false);
    let outputs = outputs.iter().map(output).collect();
    ModelSpec { outputs, ..crate::protocol::testing::spec(inputs.collect()) }
}

fn one(datatype: DataType, shape: Option<&[i64]>) -> ModelSpec {
    spec(&[("x", datatype, shape)], &["y", "z"])
}

fn pairs() -> ModelSpec {
    one(DataType::Fp32, Some(&[-1, 2]))
}

fn two() -> ModelSpec {
    spec(&[("a", DataType::Fp32, Some(&[-1, 2])), ("b", DataType::UInt8, Some(&[-1]))], &["y"])
}

fn bytes(name: &str, datatype: DataType, dims: &[usize], bytes: &[u8]) -> NamedTensor {
    let shape = Shape::new(dims.to_vec());
    let tensor = Tensor::new(datatype, shape, bytes.to_vec().into()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

/// A request of one input that is written with these members.
fn with(members: &str) -> String {
    format!(r#"{{"inputs":[{{{members}}}]}}"#)
}

#[track_caller]
fn check_bad(spec: &ModelSpec, body: &str, code: ErrorCode, message: &str) -> InferError {
    let error = decode(body.as_bytes().to_vec().into(), None, spec).unwrap_err();
    assert_eq!((error.code, &*error.message), (code, message), "{body}");
    error
}

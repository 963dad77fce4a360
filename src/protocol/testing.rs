//! Models, tensors and answers for the tests of the protocols.

use crate::inference::{
    AnswerForm, Batching, Content, Contract, Extra, ExtraValues, InferResponse, Layout, ModelSpec,
    NamedTensor, Rankings, TensorSpec,
};
use crate::inference::{Timings, Version, Work};
use crate::tensor::{Buffer, DataType, Element, Shape, ShapePattern, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;
use std::sync::Arc;

pub(super) fn input(
    name: &str,
    datatype: DataType,
    shape: Option<&[i64]>,
    optional: bool,
) -> TensorSpec {
    let shape =
        shape.map_or(ShapePattern::Unknown, |shape| ShapePattern::from_wire(shape).unwrap());
    TensorSpec { name: name.into(), datatype, shape, optional, declared: true }
}

pub(super) fn spec(inputs: Vec<TensorSpec>) -> ModelSpec {
    ModelSpec {
        inputs,
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 3,
        contract: Contract::default(),
    }
}

pub(super) fn one(datatype: DataType, shape: Option<&[i64]>) -> ModelSpec {
    spec(vec![input("x", datatype, shape, false)])
}

pub(super) fn two() -> ModelSpec {
    spec(vec![
        input("a", DataType::Fp32, Some(&[-1, 2]), false),
        input("b", DataType::Int64, Some(&[-1]), false),
        input("k", DataType::Int64, Some(&[]), true),
    ])
}

/// A model that takes rows of a table, or its own tensor.
pub(super) fn table() -> ModelSpec {
    let mut spec = spec(vec![
        input("age", DataType::Fp64, Some(&[-1]), false),
        input("city", DataType::Bytes, Some(&[-1]), false),
        input("x", DataType::Fp32, Some(&[-1, 2]), true),
    ]);
    spec.contract.content = Some(Content::Row);
    spec
}

pub(super) fn tensor<T: Element>(name: &str, dims: &[usize], values: &[T]) -> NamedTensor {
    let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

/// A tensor of `BYTES`.
pub(super) fn texts(name: &str, dims: &[usize], texts: &[&[u8]]) -> NamedTensor {
    let tensor = of_texts(dims, texts);
    NamedTensor { name: name.into(), tensor }
}

fn of_texts(dims: &[usize], texts: &[impl AsRef<[u8]>]) -> Tensor {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.as_ref().len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_ref());
    }
    Tensor::new(DataType::Bytes, Shape::new(dims.to_vec()), bytes.into()).unwrap()
}

/// A tensor of `BYTES`, some of whose elements are no texts.
pub(super) fn any_texts() -> impl Strategy<Value = Tensor> {
    prop::collection::vec(1usize..4, 0..4).prop_flat_map(|dims| {
        let text = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6),
            "\\PC{0,6}".prop_map(String::into_bytes),
        ];
        let n_texts: usize = dims.iter().product();
        prop::collection::vec(text, n_texts).prop_map(move |texts| of_texts(&dims, &texts))
    })
}

/// What labels add to one row.
#[derive(Clone)]
pub(super) struct RowLabel {
    pub(super) label: Arc<str>,
    pub(super) score: f32,
    pub(super) top: Vec<(Arc<str>, f32)>,
}

/// The same of all rows, as the step adds it.
fn extras(rows: Vec<RowLabel>) -> Vec<Extra> {
    let extra = |name, plural, values| Extra { name, plural, values };
    let labels = rows.iter().map(|row| Some(row.label.clone())).collect();
    let scores = rows.iter().map(|row| row.score).collect();
    let tops = rows.into_iter().map(|row| row.top).collect();
    let rankings = Rankings { classes: Arc::from([]), rows: tops, threshold: f64::NEG_INFINITY };
    vec![
        extra("label", "labels", ExtraValues::Texts(labels)),
        extra("score", "scores", ExtraValues::Numbers(scores)),
        extra("top", "top", ExtraValues::Rankings(rankings)),
    ]
}

pub(super) fn response(
    outputs: Vec<NamedTensor>,
    n_rows: usize,
    labels: Option<Vec<RowLabel>>,
) -> InferResponse {
    // As a load finds it of models whose answers look like this one.
    let is_rows = |it: &NamedTensor| it.tensor.shape().dims().first() == Some(&n_rows);
    let form = if outputs.iter().all(is_rows) { AnswerForm::Rows } else { AnswerForm::Whole };
    let layout = Layout { form, is_sole: outputs.len() == 1, absent: Vec::new() };
    InferResponse {
        model: "m".parse().unwrap(),
        version: Version(2),
        request_id: "r-1".into(),
        outputs,
        n_rows,
        extras: labels.map_or_else(Vec::new, extras),
        timings: Timings::default(),
        work: Work::default(),
        layout,
    }
}

/// A tensor whose elements can all be written in JSON and read back: no NaN, no infinity.
pub(super) fn any_finite_tensor() -> impl Strategy<Value = Tensor> {
    any_tensor().prop_filter("JSON has no NaN", |tensor| all(tensor, f64::is_finite))
}

/// A tensor without NaN, of which there are many, and written only one.
pub(super) fn any_tensor_without_nan() -> impl Strategy<Value = Tensor> {
    any_tensor()
        .prop_filter("NaN has many patterns", |tensor| all(tensor, |value: f64| !value.is_nan()))
}

/// Whether this holds for every float of a tensor; it does where there are none.
pub(super) fn all(tensor: &Tensor, holds: impl Fn(f64) -> bool) -> bool {
    match tensor.datatype() {
        DataType::Fp16 => tensor.as_slice::<f16>().unwrap().iter().all(|it| holds(it.to_f64())),
        DataType::Bf16 => tensor.as_slice::<bf16>().unwrap().iter().all(|it| holds(it.to_f64())),
        DataType::Fp32 => tensor.as_slice::<f32>().unwrap().iter().all(|it| holds((*it).into())),
        DataType::Fp64 => tensor.as_slice::<f64>().unwrap().iter().all(|it| holds(*it)),
        _ => true,
    }
}

pub(super) fn any_tensor() -> impl Strategy<Value = Tensor> {
    let datatypes: Vec<_> =
        DataType::ALL.iter().copied().filter(|d| *d != DataType::Bytes).collect();
    let dims = prop::collection::vec(1usize..5, 0..5);
    (prop::sample::select(datatypes), dims).prop_flat_map(|(datatype, dims)| {
        let shape = Shape::new(dims);
        let n_bytes = shape.elements().unwrap() * datatype.byte_size().unwrap();
        prop::collection::vec(any::<u8>(), n_bytes).prop_map(move |mut bytes| {
            if datatype == DataType::Bool {
                bytes.iter_mut().for_each(|byte| *byte &= 1);
            }
            Tensor::new(datatype, shape.clone(), Buffer::copy_aligned(&bytes)).unwrap()
        })
    })
}

/// A model with one input of this pattern.
pub(super) fn of_pattern(datatype: DataType, shape: ShapePattern) -> ModelSpec {
    let input = TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true };
    ModelSpec {
        inputs: vec![input],
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 5,
        contract: Contract::default(),
    }
}

//! Requests and models for this room's tests.

use super::batch::Part;
use super::metrics::SchedulerMetrics;
use crate::inference::{
    Batching, Context, Contract, InferRequest, ModelSpec, NamedTensor, TensorSpec, ValidRequest,
};
use crate::telemetry::{Metrics, MetricsOptions, ModelMetrics};
use crate::tensor::{Buffer, DataType, Shape, ShapePattern, Tensor};
use crate::testing::PATIENCE;
use std::sync::Arc;
use std::time::Instant;

/// `x`, one FP32 number a row, and an optional plain number `k`.
pub(super) fn spec() -> ModelSpec {
    let tensor = |name: &str, datatype, dims: &[i64], optional| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::from_wire(dims).unwrap(),
        optional,
        declared: true,
    };
    ModelSpec {
        inputs: vec![
            tensor("x", DataType::Fp32, &[-1], false),
            tensor("k", DataType::Int64, &[], true),
        ],
        outputs: vec![tensor("y", DataType::Fp32, &[-1], false)],
        batching: Batching::Proved,
        max_rows: 1000,
        contract: Contract::default(),
    }
}

pub(super) fn request(rows: &[f32], k: Option<i64>) -> ValidRequest {
    build(rows, k, far())
}

pub(super) fn request_until(rows: &[f32], deadline: Instant) -> ValidRequest {
    build(rows, None, deadline)
}

fn build(rows: &[f32], k: Option<i64>, deadline: Instant) -> ValidRequest {
    let mut inputs = vec![NamedTensor {
        name: "x".into(),
        tensor: Tensor::from_vec(Shape::from([rows.len()]), rows.to_vec()).unwrap(),
    }];
    if let Some(k) = k {
        let tensor = Tensor::from_vec(Shape::default(), vec![k]).unwrap();
        inputs.push(NamedTensor { name: "k".into(), tensor });
    }
    checked(&spec(), inputs, deadline)
}

fn checked(spec: &ModelSpec, inputs: Vec<NamedTensor>, deadline: Instant) -> ValidRequest {
    let context = Context::new("test", deadline);
    ValidRequest::new(spec, InferRequest { context, inputs }).unwrap()
}

/// A request that is run as it is.
pub(super) fn plain(request: &ValidRequest) -> Part<'_> {
    Part { request, padded: None }
}

/// A request of a model of texts, one a row.
pub(super) fn texts(words: &[&str]) -> ValidRequest {
    let shape = ShapePattern::from_wire(&[-1]).unwrap();
    let input = TensorSpec {
        name: "x".into(),
        datatype: DataType::Bytes,
        shape,
        optional: false,
        declared: true,
    };
    let spec = ModelSpec { inputs: vec![input], ..spec() };
    let bytes = |word: &&str| [&(word.len() as u32).to_le_bytes(), word.as_bytes()].concat();
    let buffer = Buffer::from(words.iter().flat_map(bytes).collect::<Vec<u8>>());
    let tensor = Tensor::new(DataType::Bytes, Shape::from([words.len()]), buffer).unwrap();
    checked(&spec, vec![NamedTensor { name: "x".into(), tensor }], far())
}

fn far() -> Instant {
    Instant::now() + PATIENCE
}

/// A model with `ids` INT64 [-1, -1] and `frames` FP32 [-1, 3, -1], both padded, and `extra`
/// FP32 [-1, -1], which is not.
pub(super) mod padded {
    use super::*;
    use crate::inference::{InputPadding, Padding};

    /// What `ids` are padded with; no request has it.
    pub(in crate::scheduler) const PAD: i64 = -7;

    pub(in crate::scheduler) fn spec() -> ModelSpec {
        let tensor = |name: &str, datatype, dims: &[i64]| TensorSpec {
            name: name.into(),
            datatype,
            shape: ShapePattern::from_wire(dims).unwrap(),
            optional: false,
            declared: true,
        };
        let inputs = vec![
            tensor("ids", DataType::Int64, &[-1, -1]),
            tensor("frames", DataType::Fp32, &[-1, 3, -1]),
            tensor("extra", DataType::Fp32, &[-1, -1]),
        ];
        ModelSpec { outputs: inputs.clone(), inputs, ..super::spec() }
    }

    /// As the probe would find it for a model that returns its inputs.
    pub(in crate::scheduler) fn padding(buckets: &[usize]) -> Padding {
        let pad = |axis, element: &[u8]| Some(InputPadding { axis, element: element.into() });
        Padding {
            pads: vec![pad(1, &PAD.to_le_bytes()), pad(2, &0.5f32.to_le_bytes()), None],
            given: vec![true; 3],
            follows: vec![vec![1], vec![2], vec![]],
            buckets: buckets.to_vec(),
        }
    }

    pub(in crate::scheduler) fn part<'a>(request: &'a ValidRequest, padding: &Padding) -> Part<'a> {
        Part { request, padded: padding.padded_size(request.inputs()) }
    }

    /// Values that differ everywhere.
    pub(in crate::scheduler) fn request(n_rows: usize, size: usize, extra: usize) -> ValidRequest {
        let number = |index: usize| (1000 * size + index) as f32;
        let floats = |dims: &[usize]| {
            let values = (0..dims.iter().product()).map(number).collect();
            Tensor::from_vec(Shape::new(dims.to_vec()), values).unwrap()
        };
        let ids = (0..n_rows * size).map(|index| (100 * size + index) as i64).collect();
        let ids = Tensor::from_vec(Shape::from([n_rows, size]), ids).unwrap();
        let tensors = [
            ("ids", ids),
            ("frames", floats(&[n_rows, 3, size])),
            ("extra", floats(&[n_rows, extra])),
        ];
        let named = |(name, tensor): (&str, Tensor)| NamedTensor { name: name.into(), tensor };
        checked(&spec(), tensors.map(named).into(), far())
    }
}

pub(super) fn metrics() -> Arc<ModelMetrics> {
    Metrics::new(MetricsOptions::default()).model("test", "1")
}

pub(super) fn scheduler_metrics() -> Arc<SchedulerMetrics> {
    Arc::new(SchedulerMetrics::new(&metrics()))
}

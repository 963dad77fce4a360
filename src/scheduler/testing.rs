//! Requests and models for this room's tests.

use crate::inference::{
    Batching, Context, InferRequest, ModelSpec, NamedTensor, TensorSpec, ValidRequest,
};
use crate::telemetry::{Metrics, MetricsOptions, ModelMetrics};
use crate::tensor::{DataType, Shape, ShapePattern, Tensor};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `x`, one FP32 number a row, and an optional plain number `k`.
pub(super) fn spec() -> ModelSpec {
    let tensor = |name: &str, datatype, dims: &[i64], optional| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::from_wire(dims).unwrap(),
        optional,
    };
    ModelSpec {
        inputs: vec![
            tensor("x", DataType::Fp32, &[-1], false),
            tensor("k", DataType::Int64, &[], true),
        ],
        outputs: vec![tensor("y", DataType::Fp32, &[-1], false)],
        batching: Batching::Safe,
        max_rows: 1000,
    }
}

pub(super) fn request(rows: &[f32], k: Option<i64>) -> ValidRequest {
    build(rows, k, Instant::now() + Duration::from_secs(60))
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
    let context = Context { request_id: "test".into(), deadline, trace: None };
    ValidRequest::new(&spec(), InferRequest { context, inputs }).unwrap()
}

pub(super) fn metrics() -> Arc<ModelMetrics> {
    Metrics::new(MetricsOptions::default()).model("test", "1")
}

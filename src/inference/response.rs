//! An answer, before a protocol writes it.

use super::contract::Layout;
use super::name::{ModelName, Version};
use super::request::NamedTensor;
use std::sync::Arc;
use std::time::Duration;

/// Where a request's time went between the edge that decoded it and the edge that encodes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From entering the queue to being taken out of it.
    pub queue: Duration,
    /// Putting the batch together and handing it to the device.
    pub input: Duration,
    /// The model's own run.
    pub compute: Duration,
    /// Getting the outputs back and cutting them apart.
    pub output: Duration,
}

/// The best class of one row and the runners-up.
#[derive(Debug, Clone, PartialEq)]
pub struct RowLabel {
    /// The best label.
    pub label: Arc<str>,
    /// Its score; NaN when the model gave NaN.
    pub score: f32,
    /// The best labels with their scores, best first, `label` among them.
    pub top: Vec<(Arc<str>, f32)>,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct InferResponse {
    /// The model that answered.
    pub model: ModelName,
    /// The version that answered.
    pub version: Version,
    /// The caller's id for the request, or ours.
    pub request_id: Arc<str>,
    /// Outputs in the order of the specification.
    pub outputs: Vec<NamedTensor>,
    /// Rows of the request.
    pub n_rows: usize,
    /// One entry a row, where the model has labels.
    pub labels: Option<Vec<RowLabel>>,
    /// Where the time went.
    pub timings: Timings,
    /// How it is written.
    pub layout: Layout,
}

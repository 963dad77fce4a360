//! Closed loops of callers: each asks, waits for the answer, and asks again.

use crate::inference::{Context, ErrorCode, InferError, InferRequest, NamedTensor};
use crate::pipeline;
use crate::repository::ModelHandle;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one number of callers gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) n_callers: usize,
    /// Rows a second.
    pub(super) per_second: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Asks for as long as `duration` says; one round before it is not counted.
///
/// # Errors
///
/// The first error that a caller got.
pub(super) async fn closed_loop(
    handle: &ModelHandle,
    inputs: &[NamedTensor],
    n_callers: usize,
    duration: Duration,
) -> Result<Figures, InferError> {
    let began = Instant::now();
    let (from, until) = (began + duration / 10, began + duration + duration / 10);
    let callers: Vec<_> = (0..n_callers)
        .map(|_| tokio::spawn(call(handle.clone(), inputs.to_vec(), (from, until))))
        .collect();
    let mut latencies = Vec::new();
    for caller in callers {
        let ended = caller
            .await
            .map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))?;
        latencies.extend(ended?);
    }
    latencies.sort_unstable();
    let rows = inputs.iter().map(|input| input.tensor.n_rows()).max().unwrap_or(1);
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies.get((last as f64 * share) as usize).copied().unwrap_or(Duration::MAX)
    };
    let per_second = (latencies.len() * rows) as f64 / duration.as_secs_f64();
    Ok(Figures { n_callers, per_second, p50: at(0.5), p99: at(0.99) })
}

/// One caller: how long each answer took that it asked for within the time.
async fn call(
    handle: ModelHandle,
    inputs: Vec<NamedTensor>,
    (from, until): (Instant, Instant),
) -> Result<Vec<Duration>, InferError> {
    let request_id: Arc<str> = "tune".into();
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(latencies);
        }
        let context = Context::new(Arc::clone(&request_id), asked + handle.limits().timeout);
        let request = InferRequest { context, inputs: inputs.clone() };
        pipeline::run(&handle, pipeline::check(&handle, request)?).await?;
        if asked >= from {
            latencies.push(asked.elapsed());
        }
    }
}

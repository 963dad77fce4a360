//! From a plan to a scheduler whose instances are warm. Blocks.

use super::plan::{FirstRuns, ServingPlan};
use crate::engine::{EngineError, Fault, Model};
use crate::scheduler::{Job, PermitSource, Scheduler, Warmup};
use crate::telemetry::ModelMetrics;
use std::sync::Arc;

/// What a scheduler gets beside its plan.
pub(super) struct Resources {
    pub(super) model: Arc<dyn Model>,
    /// Leave to compute on the processor; `None` for a model on another device.
    pub(super) permits: Option<PermitSource>,
    pub(super) metrics: Arc<ModelMetrics>,
}

/// Starts the instances and warms them up.
pub(super) fn start(plan: &ServingPlan, resources: &Resources) -> Result<Scheduler, String> {
    let start = |warmup: Warmup| {
        let job = Job {
            model: Arc::clone(&resources.model),
            spec: Arc::clone(&plan.spec),
            permits: resources.permits.clone(),
            metrics: Arc::clone(&resources.metrics),
            padding: plan.padding.clone(),
            warmup,
        };
        Scheduler::start(plan.scheduler.clone(), job)
    };
    let started = match &plan.first_runs {
        FirstRuns::None => start(Warmup::default()),
        FirstRuns::Sample(warmup) => start(warmup.clone()),
        FirstRuns::MadeUp(warmup) => match start(warmup.clone()) {
            Err(EngineError { fault: Fault::Raised | Fault::Environment, .. }) => {
                start(Warmup::default())
            }
            started => started,
        },
    };
    started.map_err(|error| format!("the model could not be started: {error}"))
}

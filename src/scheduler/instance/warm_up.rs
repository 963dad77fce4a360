//! Running what an engine is to be warmed up with.

use super::runner::Runner;
use crate::engine::{EngineError, Fault};
use crate::scheduler::shared::Shared;
use crate::scheduler::warmup::Shapes;
use std::time::{Duration, Instant};

/// Maximum number of runs of one input: a model whose time never settles must not hold up the start.
const MAX_RUNS: usize = 10;

/// Warms up one engine; says whether it is warm. It is not where a run took so long that it was given up.
pub(super) fn warm_up(shared: &Shared, runner: &mut Runner) -> Result<bool, EngineError> {
    let warmup = &shared.job.warmup;
    for inputs in &warmup.settle {
        let mut before: Option<Duration> = None;
        for _ in 0..MAX_RUNS {
            let Some(took) = runner.warm_up(shared, inputs.clone()) else { return Ok(false) };
            let took = took?;
            if before.is_some_and(|before| before.abs_diff(took) <= before.min(took) / 4) {
                break;
            }
            before = Some(took);
        }
        // So that the first crowd is not taken in whole.
        let with_rows = inputs.iter().flatten().find(|tensor| tensor.shape().rank() > 0);
        if let (Some(took), Some(tensor)) = (before, with_rows) {
            shared.queue.pace().warmed_up(tensor.n_rows(), took);
        }
    }
    warmup.shapes.as_ref().map_or(Ok(true), |shapes| run_shapes(shapes, shared, runner))
}

fn run_shapes(shapes: &Shapes, shared: &Shared, runner: &mut Runner) -> Result<bool, EngineError> {
    let started = Instant::now();
    while started.elapsed() < shapes.budget() {
        let Some(place) = shapes.take() else { break };
        let Some(inputs) = shapes.inputs(place) else { continue };
        match runner.warm_up(shared, inputs) {
            None => return Ok(false),
            Some(Ok(_)) => shapes.count(),
            // A size that the model refuses is refused to requests too; it is no reason not to start.
            Some(Err(EngineError {
                fault: Fault::Raised | Fault::Environment | Fault::OutOfMemory,
                ..
            })) => {}
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(true)
}

//! What the instances of a version run before it counts as ready.

use super::PermitSource;
use super::pace::Pace;
use super::run::run;
use crate::engine::{Batch, Engine, EngineError, Fault};
use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs of one input at most: a model whose time never settles must not hold up the start.
const MAX_RUNS: usize = 10;

/// Tensors in the order of the model's arguments.
pub type Inputs = Vec<Option<Tensor>>;

/// Inputs of the shapes that are to be expected.
#[derive(Debug, Clone, Default)]
pub struct Warmup {
    /// Run by each instance until two runs in a row take about the same time: the library compiles
    /// and specializes during the first ones.
    pub settle: Vec<Inputs>,
    /// Run once, by whichever instance comes to it first.
    pub shapes: Option<Arc<Shapes>>,
}

/// Shapes that are run once: what the library keeps for a shape it keeps for the whole process. Made
/// one at a time, since all of them together may be large.
pub struct Shapes {
    n_shapes: usize,
    make: Box<MakeInputs>,
    budget: Duration,
    next: AtomicUsize,
    warmed: AtomicUsize,
}

type MakeInputs = dyn Fn(usize) -> Option<Inputs> + Send + Sync;

impl Shapes {
    /// `make` gives the inputs of each of `n_shapes`, the most wanted first; no more than about
    /// `budget` is spent on all of them.
    pub fn new(
        n_shapes: usize,
        budget: Duration,
        make: impl Fn(usize) -> Option<Inputs> + Send + Sync + 'static,
    ) -> Self {
        let (next, warmed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { n_shapes, make: Box::new(make), budget, next, warmed }
    }

    /// The inputs of the shape at this place.
    pub fn inputs(&self, place: usize) -> Option<Inputs> {
        (self.make)(place)
    }

    /// How many there are, and how many have been run.
    pub fn progress(&self) -> (usize, usize) {
        (self.n_shapes, self.warmed.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shapes").field(&self.progress()).finish()
    }
}

/// Warms up one engine.
pub(super) fn warm_up(
    warmup: &Warmup,
    permits: Option<&PermitSource>,
    pace: &Pace,
    engine: &mut dyn Engine,
) -> Result<(), EngineError> {
    for inputs in &warmup.settle {
        let mut before: Option<Duration> = None;
        for _ in 0..MAX_RUNS {
            let _permit = permits.map(PermitSource::acquire);
            let started = Instant::now();
            run(engine, Batch::without_deadline(inputs.clone()))?;
            let took = started.elapsed();
            if before.is_some_and(|before| before.abs_diff(took) <= before.min(took) / 4) {
                break;
            }
            before = Some(took);
        }
        // So that the first crowd is not taken in whole.
        let with_rows = inputs.iter().flatten().find(|tensor| tensor.shape().rank() > 0);
        if let (Some(took), Some(tensor)) = (before, with_rows) {
            pace.warmed_up(tensor.n_rows(), took);
        }
    }
    warmup.shapes.as_ref().map_or(Ok(()), |shapes| run_shapes(shapes, permits, engine))
}

fn run_shapes(
    shapes: &Shapes,
    permits: Option<&PermitSource>,
    engine: &mut dyn Engine,
) -> Result<(), EngineError> {
    let started = Instant::now();
    while started.elapsed() < shapes.budget {
        // Shared by all instances; one that takes a stuck one's place finds it used up.
        let place = shapes.next.fetch_add(1, Ordering::Relaxed);
        if place >= shapes.n_shapes {
            break;
        }
        let Some(inputs) = shapes.inputs(place) else { continue };
        let _permit = permits.map(PermitSource::acquire);
        match run(engine, Batch::without_deadline(inputs)) {
            Ok(_) => {
                shapes.warmed.fetch_add(1, Ordering::Relaxed);
            }
            // A size that the model refuses is refused to requests too; it is no reason not to start.
            Err(error)
                if matches!(
                    error.fault,
                    Fault::Raised | Fault::Environment | Fault::OutOfMemory
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

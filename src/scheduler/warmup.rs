//! What the instances of a version run before it counts as ready.

use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

    /// The place of one that nobody has taken yet; none when all are taken. Shared by all instances: one that takes a stuck
    /// one's place finds them used up.
    pub(super) fn take(&self) -> Option<usize> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        (place < self.n_shapes).then_some(place)
    }

    /// One of them has been run.
    pub(super) fn count(&self) {
        self.warmed.fetch_add(1, Ordering::Relaxed);
    }

    /// About how long all of them together may take.
    pub(super) fn budget(&self) -> Duration {
        self.budget
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

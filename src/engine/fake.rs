//! A scripted engine: proves what the rooms above do, and stands in where libtorch is not built in.

use super::{
    Argument, ArgumentKind, Artifact, Batch, Device, Engine, EngineError, Fault, LoadOptions,
    Loader, Model, Output, Phases, RunOutcome, Signature,
};
use crate::tensor::Tensor;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What one run does.
type Script = dyn Fn(Batch) -> Result<Vec<Tensor>, EngineError> + Send + Sync;

/// What the engines of one fake model saw. Shared by the test and all engines.
#[derive(Debug, Default)]
pub struct Seen {
    rows: Mutex<Vec<usize>>,
    instances: AtomicUsize,
    live: AtomicUsize,
}

impl Seen {
    /// Rows of each run, in order.
    #[must_use]
    pub fn rows(&self) -> Vec<usize> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Engines made so far.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances.load(Ordering::SeqCst)
    }

    /// Engines that have not been dropped.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }
}

/// A model whose runs are a closure.
#[derive(Clone)]
pub struct FakeModel {
    signature: Signature,
    script: Arc<Script>,
    cost: Option<Duration>,
    isolated: bool,
    max_instances: usize,
    seen: Arc<Seen>,
}

impl FakeModel {
    /// A model with one tensor argument, `x`, that runs `script`.
    pub fn new(
        script: impl Fn(Batch) -> Result<Vec<Tensor>, EngineError> + Send + Sync + 'static,
    ) -> Self {
        let x = Argument { name: "x".into(), kind: ArgumentKind::Tensor, optional: false };
        let signature = Signature {
            arguments: vec![x],
            returns: "Tensor".into(),
            methods: vec!["forward".into()],
            ..Signature::default()
        };
        Self {
            signature,
            script: Arc::new(script),
            cost: None,
            isolated: false,
            max_instances: usize::MAX,
            seen: Arc::default(),
        }
    }

    /// A model that returns its first input.
    #[must_use]
    pub fn echo() -> Self {
        Self::new(|batch| {
            let first = batch.inputs.into_iter().flatten().next();
            first
                .map(|tensor| vec![tensor])
                .ok_or_else(|| EngineError::new(Fault::Raised, "no input"))
        })
    }

    /// The same model with another signature.
    #[must_use]
    pub fn with_signature(self, signature: Signature) -> Self {
        Self { signature, ..self }
    }

    /// The same model, whose runs cost the processor so much for each row.
    #[must_use]
    pub fn with_cost(self, cost: Duration) -> Self {
        Self { cost: Some(cost), ..self }
    }

    /// The same model, as if its runs could end a process of their own.
    #[must_use]
    pub fn isolated(self) -> Self {
        Self { isolated: true, ..self }
    }

    /// The same model, of which no more engines can be made.
    #[must_use]
    pub fn with_instances(self, max_instances: usize) -> Self {
        Self { max_instances, ..self }
    }

    /// What its engines see.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl fmt::Debug for FakeModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeModel").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Model for FakeModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> u64 {
        0
    }

    fn instance(&self) -> Result<Box<dyn Engine>, EngineError> {
        if self.seen.instances.fetch_add(1, Ordering::SeqCst) >= self.max_instances {
            return Err(EngineError::new(Fault::Internal, "no more instances"));
        }
        self.seen.live.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeEngine { model: self.clone() }))
    }

    fn is_isolated(&self) -> bool {
        self.isolated
    }
}

struct FakeEngine {
    model: FakeModel,
}

impl Engine for FakeEngine {
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError> {
        let rows = batch.inputs.iter().flatten().map(Tensor::n_rows).max().unwrap_or(0);
        self.model.seen.rows.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
        let tensors = (self.model.script)(batch)?;
        let outputs = tensors.into_iter().map(|tensor| Output { name: None, tensor }).collect();
        let processor_time = self.model.cost.map(|cost| cost * rows as u32);
        Ok(RunOutcome { outputs, phases: Phases::default(), processor_time })
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.model.seen.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Loads every file as the same model, if the file is there.
#[derive(Debug, Clone)]
pub struct FakeLoader(pub FakeModel);

impl Loader for FakeLoader {
    fn load(&self, artifact: &Artifact, _: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        artifact.open()?;
        Ok(Box::new(self.0.clone()))
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device::Cpu]
    }
}

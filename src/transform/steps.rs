//! What a step is, and the steps of one version in their order.

use super::desk::Desk;
use super::error::TransformError;
use crate::inference::{
    Content, Extra, ExtraSpec, InferError, ModelSpec, NamedTensor, Parameters, TensorSpec,
};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A step before the run: from the tensors of clients to those of the engine.
pub trait InputStep: fmt::Debug + Send + Sync {
    /// What the step takes, so that it gives these inputs. Asked when a version is loaded.
    ///
    /// # Errors
    ///
    /// The step can never give them.
    fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError>;

    /// What clients send to it, where that is no tensor. Then its first input is theirs.
    fn content(&self) -> Option<Content> {
        None
    }

    /// Whether it is done with these inputs before other connections of the thread would notice.
    fn is_quick(&self, _inputs: &[NamedTensor]) -> bool {
        true
    }

    /// Takes tensors of its own specification and gives those of the inner one.
    ///
    /// # Errors
    ///
    /// `invalid_input` for what clients must not send.
    fn apply(
        &self,
        inner: &[TensorSpec],
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError>;
}

/// A step behind the run: from the outputs of the engine to the answer that clients get.
pub trait OutputStep: fmt::Debug + Send + Sync {
    /// What the step gives for these outputs. Asked when a version is loaded; there are no outputs
    /// where no probe could run the model.
    ///
    /// # Errors
    ///
    /// The step can never take them.
    fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError>;

    /// What the step adds to every answer beside its outputs.
    fn extras(&self) -> &'static [ExtraSpec] {
        &[]
    }

    /// Inputs of the engine that the step looks at, where the request has them.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// The scores of all classes in an answer that the step has changed, where it is about classes.
    ///
    /// # Errors
    ///
    /// As for [`OutputStep::apply`].
    fn scores(
        &self,
        _inner: &[TensorSpec],
        _outputs: &[NamedTensor],
        _n_rows: usize,
    ) -> Result<Option<ClassScores>, InferError> {
        Ok(None)
    }

    /// Changes one answer, whose outputs are of the inner specification.
    ///
    /// # Errors
    ///
    /// `inference_failed` for outputs that the step cannot take, which shows only now where they were
    /// not known at load.
    fn apply(&self, inner: &[TensorSpec], outputs: &mut Outputs) -> Result<(), InferError>;
}

/// An answer on its way out.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The tensors.
    pub tensors: Vec<NamedTensor>,
    /// Rows of the request.
    pub n_rows: usize,
    /// What of its inputs steps have asked for.
    pub given: Vec<NamedTensor>,
    /// What steps have added.
    pub extras: Vec<Extra>,
    /// What the request wants.
    pub parameters: Parameters,
}

/// What every class of a model gets in the rows of an answer, of which clients are told the best alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScores {
    /// The names of all classes, by their index.
    pub classes: Arc<[Arc<str>]>,
    /// A score for each class, row after row.
    pub values: Vec<f64>,
}

/// The steps that a model asks for, each list in the order in which data passes.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// Before the run.
    pub inputs: Vec<Arc<dyn InputStep>>,
    /// Behind it.
    pub outputs: Vec<Arc<dyn OutputStep>>,
}

impl Steps {
    /// What clients send, so that the engine gets these inputs.
    ///
    /// # Errors
    ///
    /// A step can never give them.
    pub fn interface_inputs(
        &self,
        engine: &[TensorSpec],
    ) -> Result<Vec<TensorSpec>, TransformError> {
        Ok(self.bind(engine)?.0)
    }

    /// What clients send, and what each step before the run has to give.
    fn bind(
        &self,
        engine: &[TensorSpec],
    ) -> Result<(Vec<TensorSpec>, Vec<Vec<TensorSpec>>), TransformError> {
        let (mut outer, mut given) = (engine.to_vec(), Vec::with_capacity(self.inputs.len()));
        for step in self.inputs.iter().rev() {
            let taken = step.specs(&outer)?;
            given.push(std::mem::replace(&mut outer, taken));
        }
        given.reverse();
        Ok((outer, given))
    }

    /// What clients may send in place of tensors.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        self.inputs.first().and_then(|step| step.content())
    }

    /// Carries what a client sent to an engine that takes these inputs.
    ///
    /// # Errors
    ///
    /// `invalid_input` for what clients must not send, and for an engine that the steps do not fit.
    pub fn apply_inputs(
        &self,
        engine: &[TensorSpec],
        inputs: Vec<NamedTensor>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let (_, given) = self.bind(engine).map_err(|error| error.at_run())?;
        self.apply_bound(&given, inputs, &mut Desk::default())
    }

    fn apply_bound(
        &self,
        given: &[Vec<TensorSpec>],
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let mut steps = self.inputs.iter().zip(given);
        steps.try_fold(inputs, |inputs, (step, given)| step.apply(given, inputs, desk))
    }

    /// Puts the steps around an engine.
    ///
    /// # Errors
    ///
    /// A step does not fit.
    pub fn around(self, engine: &Arc<ModelSpec>) -> Result<Transform, TransformError> {
        let mut interface = ModelSpec::clone(engine);
        let (inputs, given) = self.bind(&engine.inputs)?;
        interface.inputs = inputs;
        interface.contract.content = self.content();
        let names = self.outputs.iter().flat_map(|step| step.extras()).flat_map(|it| {
            // One that is the same for one row and for more has one name.
            [it.name, it.plural].into_iter().take(if it.name == it.plural { 1 } else { 2 })
        });
        let mut seen = HashSet::new();
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(*name)) {
            return Err(TransformError::ExtraTwice(twice));
        }
        let mut inner = Vec::with_capacity(self.outputs.len());
        for step in &self.outputs {
            let outer = step.specs(&interface)?;
            inner.push(std::mem::replace(&mut interface.outputs, outer));
        }
        let is_same = interface == **engine;
        let interface = if is_same { Arc::clone(engine) } else { Arc::new(interface) };
        Ok(Transform { interface, steps: self, given, inner })
    }
}

/// The steps of a loaded version, which are known to fit.
#[derive(Debug, Clone)]
pub struct Transform {
    interface: Arc<ModelSpec>,
    steps: Steps,
    /// What each step before the run gives.
    given: Vec<Vec<TensorSpec>>,
    /// What each step behind the run takes.
    inner: Vec<Vec<TensorSpec>>,
}

impl Transform {
    /// What clients send and get.
    #[must_use]
    pub fn interface(&self) -> &Arc<ModelSpec> {
        &self.interface
    }

    /// The scores of all classes in an answer, where the model has labels.
    ///
    /// # Errors
    ///
    /// `inference_failed` for outputs that have none.
    pub fn scores(
        &self,
        outputs: &[NamedTensor],
        n_rows: usize,
    ) -> Result<Option<ClassScores>, InferError> {
        for (step, inner) in self.steps.outputs.iter().zip(&self.inner) {
            if let Some(scores) = step.scores(inner, outputs, n_rows)? {
                return Ok(Some(scores));
            }
        }
        Ok(None)
    }

    /// Inputs of the engine that steps behind the run look at.
    pub fn needs(&self) -> impl Iterator<Item = &'static str> {
        self.steps.outputs.iter().flat_map(|step| step.needs()).copied()
    }

    /// What the steps add to every answer beside its outputs.
    #[must_use]
    pub fn extras(&self) -> Vec<ExtraSpec> {
        self.steps.outputs.iter().flat_map(|step| step.extras()).copied().collect()
    }

    /// Whether there is nothing to be done before the run.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.steps.inputs.is_empty()
    }

    /// Whether [`Self::before`] may be done where other connections wait for its end.
    #[must_use]
    pub fn is_quick(&self, inputs: &[NamedTensor]) -> bool {
        self.steps.inputs.first().is_none_or(|step| step.is_quick(inputs))
    }

    /// From what a client sent to what the engine takes.
    ///
    /// # Errors
    ///
    /// `invalid_input` for what clients must not send.
    pub fn before(
        &self,
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        self.steps.apply_bound(&self.given, inputs, desk)
    }

    /// From what the engine gave to what the client gets.
    ///
    /// # Errors
    ///
    /// `inference_failed` for outputs that a step cannot take.
    pub fn after(&self, outputs: &mut Outputs) -> Result<(), InferError> {
        let mut steps = self.steps.outputs.iter().zip(&self.inner);
        steps.try_for_each(|(step, inner)| step.apply(inner, outputs))
    }
}

#[cfg(test)]
mod tests;

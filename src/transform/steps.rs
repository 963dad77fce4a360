//! What a step is, and the steps of one version in their order.

use super::desk::Desk;
use super::error::TransformError;
use crate::inference::{Content, Extra, ExtraSpec, InferError, ModelSpec, NamedTensor, TensorSpec};
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
mod tests {
    use super::*;
    use crate::inference::{Batching, Contract, ErrorCode, ExtraKind, ExtraValues};
    use crate::tensor::{DataType, Shape, ShapePattern, Tensor};

    /// Takes whole numbers of some name and gives them as floats of another, twice as large a factor.
    #[derive(Debug)]
    struct Scale {
        outer: &'static str,
        factor: f32,
    }

    impl InputStep for Scale {
        fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError> {
            Ok(vec![TensorSpec { name: self.outer.into(), ..inner[0].clone() }])
        }

        fn apply(
            &self,
            inner: &[TensorSpec],
            inputs: Vec<NamedTensor>,
            desk: &mut Desk<'_>,
        ) -> Result<Vec<NamedTensor>, InferError> {
            desk.work.tokens += 1;
            let [input] = &inputs[..] else {
                return Err(InferError::invalid_input(self.outer, "one is expected"));
            };
            let values = input.tensor.as_slice::<f32>().unwrap();
            let values = values.iter().map(|value| value * self.factor).collect();
            let tensor = Tensor::from_vec(input.tensor.shape().clone(), values).unwrap();
            Ok(vec![NamedTensor { name: inner[0].name.clone(), tensor }])
        }
    }

    /// Leaves out all outputs but the first and says how many there were.
    #[derive(Debug)]
    struct First;

    impl OutputStep for First {
        fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError> {
            let first = inner.outputs.first().ok_or(TransformError::NoOutput)?;
            Ok(vec![first.clone()])
        }

        fn apply(&self, inner: &[TensorSpec], outputs: &mut Outputs) -> Result<(), InferError> {
            outputs.tensors.truncate(1);
            let values = ExtraValues::Numbers(vec![inner.len() as f32; outputs.n_rows]);
            outputs.extras.push(Extra { name: "of", plural: "ofs", values });
            Ok(())
        }
    }

    /// Says that it adds a value.
    #[derive(Debug)]
    struct Adds;

    const ADDED: ExtraSpec = ExtraSpec { name: "above", plural: "aboves", kind: ExtraKind::Number };

    impl OutputStep for Adds {
        fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError> {
            Ok(inner.outputs.clone())
        }

        fn extras(&self) -> &'static [ExtraSpec] {
            &[ADDED]
        }

        fn apply(&self, _: &[TensorSpec], _: &mut Outputs) -> Result<(), InferError> {
            Ok(())
        }
    }

    fn tensor(name: &str) -> TensorSpec {
        let shape = ShapePattern::from_wire(&[-1]).unwrap();
        let datatype = DataType::Fp32;
        TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
    }

    fn engine(outputs: &[&str]) -> Arc<ModelSpec> {
        Arc::new(ModelSpec {
            inputs: vec![tensor("x")],
            outputs: outputs.iter().copied().map(tensor).collect(),
            batching: Batching::Proved,
            max_rows: 4,
            contract: Contract::default(),
        })
    }

    fn named(name: &str, values: &[f32]) -> NamedTensor {
        let tensor = Tensor::from_vec(Shape::from([values.len()]), values.to_vec()).unwrap();
        NamedTensor { name: name.into(), tensor }
    }

    #[test]
    fn without_steps_the_interface_is_the_engines() {
        let engine = engine(&["y"]);
        let transform = Steps::default().around(&engine).unwrap();
        assert!(Arc::ptr_eq(transform.interface(), &engine));
        let inputs = vec![named("x", &[1.0])];
        assert!(transform.is_plain());
        let desk = &mut Desk::default();
        assert_eq!(transform.before(inputs.clone(), desk).unwrap(), inputs);
    }

    #[test]
    fn specifications_go_outwards_and_tensors_inwards() {
        let meters = Arc::new(Scale { outer: "meters", factor: 2.0 });
        let feet = Arc::new(Scale { outer: "feet", factor: 10.0 });
        let steps = Steps { inputs: vec![meters, feet], outputs: vec![] };
        let engine = engine(&["y"]);
        let outer = steps.interface_inputs(&engine.inputs).unwrap();
        let transform = steps.around(&engine).unwrap();
        let interface = transform.interface();
        assert_eq!((&interface.inputs, &*interface.inputs[0].name), (&outer, "meters"));
        assert_eq!((&interface.outputs, interface.max_rows), (&engine.outputs, 4));
        let mut desk = Desk::default();
        let inputs = transform.before(vec![named("meters", &[1.0, 3.0])], &mut desk).unwrap();
        assert_eq!(desk.work.tokens, 2, "each step has counted");
        assert_eq!(inputs, [named("x", &[20.0, 60.0])]);
        let error = transform.before(vec![], &mut desk).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidInput);
    }

    #[test]
    fn each_step_behind_the_run_knows_what_it_takes() {
        let twice = || Steps { inputs: vec![], outputs: vec![Arc::new(First), Arc::new(First)] };
        let transform = twice().around(&engine(&["y", "z", "w"])).unwrap();
        assert_eq!(transform.interface().outputs, [tensor("y")]);
        let tensors = ["y", "z", "w"].map(|name| named(name, &[0.5])).to_vec();
        let mut outputs = Outputs { tensors, n_rows: 1, given: Vec::new(), extras: Vec::new() };
        transform.after(&mut outputs).unwrap();
        assert_eq!(outputs.tensors, [named("y", &[0.5])]);
        let values = outputs.extras.iter().map(|extra| extra.values.clone()).collect::<Vec<_>>();
        assert_eq!(values, [3.0, 1.0].map(|n| ExtraValues::Numbers(vec![n])));
        let error = twice().around(&engine(&[])).unwrap_err();
        assert_eq!(error, TransformError::NoOutput);
    }

    #[test]
    fn what_is_added_to_answers_is_known_at_load_and_has_names_of_its_own() {
        let adds = |n| Steps { inputs: vec![], outputs: vec![Arc::new(Adds) as _; n] };
        assert_eq!(adds(1).around(&engine(&["y"])).unwrap().extras(), [ADDED]);
        let error = adds(2).around(&engine(&["y"])).unwrap_err();
        assert_eq!(error, TransformError::ExtraTwice("above"));
    }
}

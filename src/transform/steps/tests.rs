//! Steps put around an engine.

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
    let mut outputs = Outputs {
        tensors,
        n_rows: 1,
        given: Vec::new(),
        extras: Vec::new(),
        parameters: Default::default(),
    };
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

//! `engine/torch` on the fixture models: what libtorch really answers, through the engine seam.
//!
//! What belongs here: values, kinds of arguments and outputs, failures, memory, threads. What is
//! found out about a model before it is served is `engine/probe`'s, and tested through the server.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use half::{bf16, f16};
use sconce::engine::torch::TorchLoader;
use sconce::engine::{
    ArgumentKind, Artifact, Batch, Device, Engine, EngineError, Fault, LoadOptions, Loader, Model,
    Outcome,
};
use sconce::tensor::{DataType, Element, Shape, Tensor};
use std::path::Path;

fn load_file(file: &str) -> Result<Box<dyn Model>, EngineError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let options = LoadOptions { device: Device::Cpu, intra_op_threads: 1 };
    TorchLoader::new().load(&Artifact { path }, &options)
}

#[track_caller]
fn load(name: &str) -> Box<dyn Model> {
    load_file(&format!("models/{name}/1/model.pt")).unwrap()
}

#[track_caller]
fn tensor<T: Element>(dims: &[usize], values: &[T]) -> Tensor {
    Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap()
}

fn row(values: [f32; 4]) -> Tensor {
    tensor(&[1, 4], &values)
}

fn run(engine: &mut dyn Engine, inputs: Vec<Tensor>) -> Result<Outcome, EngineError> {
    engine.run(Batch { inputs: inputs.into_iter().map(Some).collect() })
}

/// Runs a fixture once.
#[track_caller]
fn outputs(name: &str, inputs: Vec<Tensor>) -> Vec<(Option<String>, Tensor)> {
    let outcome = run(&mut *load(name).instance().unwrap(), inputs).unwrap();
    let named =
        |output: sconce::engine::Output| (output.name.map(|n| n.to_string()), output.tensor);
    outcome.outputs.into_iter().map(named).collect()
}

/// Runs a fixture that has one output without a name.
#[track_caller]
fn check<T: Element + PartialEq + std::fmt::Debug>(
    name: &str,
    inputs: Vec<Tensor>,
    dims: &[usize],
    expected: &[T],
) {
    let got = outputs(name, inputs);
    let [(None, tensor)] = &got[..] else { panic!("{name}: one output without a name: {got:?}") };
    assert_eq!(tensor.shape().dims(), dims, "{name}");
    assert_eq!(tensor.as_slice::<T>(), Some(expected), "{name}: {tensor:?}");
}

#[test]
fn every_datatype_comes_and_goes() {
    check(
        "raises",
        vec![tensor(&[2, 4], &[1f32, 2., 3., 4., 5., 6., 7., 8.])],
        &[2, 4],
        &[2f32, 4., 6., 8., 10., 12., 14., 16.],
    );
    check(
        "double",
        vec![tensor(&[1, 4], &[1f64, 3., 0., -3.])],
        &[1, 4],
        &[1. / 3., 1., 0., -1f64],
    );
    let small = tensor(&[1, 4], &[255u8, 0, 1, 2]);
    let large = tensor(&[1, 2], &[(1i64 << 53) + 1, -3]);
    check("integers", vec![small, large], &[1, 1], &[(1i64 << 53) + 256]);
    check(
        "two_inputs",
        vec![tensor(&[2, 3], &[1f32, 2., 3., 0.5, 0.25, -1.]), tensor(&[2], &[10i64, 20])],
        &[2],
        &[16f32, 19.75],
    );
    let [(None, truth)] = &outputs("bool_output", vec![row([1., 0., -1., 2.])])[..] else {
        panic!("one output");
    };
    assert_eq!((truth.datatype(), truth.buffer().as_bytes()), (DataType::Bool, &[1, 0, 0, 1][..]));
}

#[test]
fn datatypes_of_two_bytes_keep_their_bits() {
    let halves = outputs("half", vec![tensor(&[1, 4], &[f16::ZERO; 4])]);
    assert_eq!((halves[0].1.datatype(), halves[0].1.shape().dims()), (DataType::Fp16, &[1, 2][..]));
    let brains = outputs("bfloat16", vec![tensor(&[1, 4], &[bf16::ZERO; 4])]);
    assert_eq!((brains[0].1.datatype(), brains[0].1.shape().dims()), (DataType::Bf16, &[1, 2][..]));
    // Zeros give the bias, which is small: bits taken for the other type would be far off.
    let bias = |value: f32| value.is_finite() && value.abs() <= 1.0 && value != 0.0;
    assert!(halves[0].1.as_slice::<f16>().unwrap().iter().all(|value| bias(value.to_f32())));
    assert!(brains[0].1.as_slice::<bf16>().unwrap().iter().all(|value| bias(value.to_f32())));
}

#[test]
fn every_form_of_output_is_taken_apart() {
    let input = || vec![row([1., 2., 3., 4.])];
    let tuple = outputs("multi_output", input());
    assert_eq!(tuple[0].1.as_slice::<f32>(), Some(&[2f32, 4.][..]));
    assert_eq!(tuple[1].1.as_slice::<f32>(), Some(&[3f32, 4., 5.][..]));
    assert!(tuple.iter().all(|(name, _)| name.is_none()), "a tuple names nothing");

    let mut named = outputs("dict_output", input());
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<_> = named.iter().map(|(name, _)| name.as_deref().unwrap()).collect();
    assert_eq!(names, ["double", "sum"]);
    assert_eq!(named[1].1.as_slice::<f32>(), Some(&[10f32][..]));

    check("scalar_out", input(), &[], &[10f32]);
    check("coupled", vec![tensor(&[2, 4], &[1f32; 8])], &[2, 4], &[0f32; 8]);
    check("variable", vec![tensor(&[1, 3], &[1f32, 2., 6.])], &[1, 1], &[3f32]);
}

#[test]
fn arguments_that_are_no_tensors_have_defaults() {
    let model = load("scalar_arg");
    let arguments = &model.signature().arguments;
    assert_eq!(arguments[1].kind, ArgumentKind::Scalar(DataType::Int64));
    assert!(arguments[1].optional && !arguments[0].optional);
    let mut engine = model.instance().unwrap();
    let mut answer = |second: Option<Tensor>| {
        let batch = Batch { inputs: vec![Some(row([1., 2., 3., 4.])), second] };
        engine.run(batch).unwrap().outputs[0].tensor.as_slice::<f32>().unwrap().to_vec()
    };
    assert_eq!(answer(None), [3., 6., 9., 12.]);
    assert_eq!(answer(Some(tensor(&[], &[5i64]))), [5., 10., 15., 20.]);
    assert_eq!(answer(None), [3., 6., 9., 12.], "a default is not overwritten");
}

#[test]
fn signatures_tell_what_is_in_the_file() {
    let model = load("methods");
    let signature = model.signature();
    assert!(signature.methods.iter().any(|method| method == "triple"), "{:?}", signature.methods);
    assert!(signature.operators.iter().any(|operator| operator.starts_with("aten::mul")));
    assert!(load("stateful").signature().mutates_state);
    assert!(!load("tabular").signature().mutates_state);
    let touches = |name: &str, operator: &str| {
        load(name).signature().operators.iter().any(|known| known.starts_with(operator))
    };
    assert!(touches("file_reader", "aten::from_file"));
    assert!(touches("file_writer", "aten::save"));
    let parameters = &load("tabular").signature().parameters.len();
    assert_eq!(*parameters, 6, "three layers with weight and bias");
    assert!(load("tabular").memory() >= 4 * (20 * 64 + 64 * 32 + 32));
}

#[test]
fn what_cannot_be_loaded_says_why() {
    for name in ["empty", "truncated", "random", "bit_flipped", "not_torchscript"] {
        let error = load_file(&format!("broken/{name}.pt")).err().expect("must not load");
        assert_eq!(error.fault, Fault::InvalidFile, "{name}: {error}");
        let text = error.to_string();
        assert!(text.len() < 500, "{name}: {text:?}");
        assert!(!text.contains("frame #") && !text.contains(".cpp"), "{name}: {text:?}");
    }
    assert_eq!(load_file("models/no_forward/1/model.pt").err().unwrap().fault, Fault::Unsupported);
    assert_eq!(load_file("no/such/file.pt").err().unwrap().fault, Fault::InvalidFile);
}

#[test]
fn failures_are_told_and_leave_the_engine_usable() {
    let mut engine = load("raises").instance().unwrap();
    let error = run(&mut *engine, vec![row([-1., 0., 0., 0.])]).err().unwrap();
    assert_eq!(error.fault, Fault::Raised, "{error}");
    assert!(error.to_string().contains("the first value of a row is negative"), "{error}");
    let error = run(&mut *engine, vec![tensor(&[1], &[1i64])]).err().unwrap();
    assert_eq!(error.fault, Fault::Raised, "{error}");
    assert!(run(&mut *engine, vec![row([1., 0., 0., 0.])]).is_ok());
    let error =
        run(&mut *load("text_output").instance().unwrap(), vec![row([1.; 4])]).err().unwrap();
    assert_eq!(error.fault, Fault::Unsupported, "{error}");
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn calls_that_raise_leave_nothing_behind() {
    const MIB: usize = 1 << 20;
    let mut engine = load("raises").instance().unwrap();
    let mut call = || {
        let mut values = vec![1f32; MIB / 4];
        values[0] = -1.;
        assert!(run(&mut *engine, vec![tensor(&[MIB / 16, 4], &values)]).is_err());
    };
    (0..50).for_each(|_| call());
    let before = resident();
    (0..2000).for_each(|_| call());
    let grown = resident().saturating_sub(before);
    // One input kept a call would be 2 GB. Other tests of this program run beside this one.
    assert!(grown < 256 * MIB, "2,000 raising calls of 1 MiB grew memory by {} KiB", grown / 1024);
}

#[test]
fn instances_run_side_by_side() {
    let model = load("tabular");
    let rows: Vec<f32> = (0..20 * 8).map(|n| (n as f32).sin()).collect();
    let answer = |engine: &mut dyn Engine| {
        let outcome = run(engine, vec![tensor(&[8, 20], &rows)]).unwrap();
        outcome.outputs[0].tensor.as_slice::<f32>().unwrap().to_vec()
    };
    let expected = answer(&mut *model.instance().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut engine = model.instance().unwrap();
            let (answer, expected) = (&answer, &expected);
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(answer(&mut *engine), *expected);
                }
            });
        }
    });
}

#[test]
fn state_is_an_instances_own() {
    let model = load("stateful");
    let (mut one, mut other) = (model.instance().unwrap(), model.instance().unwrap());
    let call = |engine: &mut dyn Engine| {
        run(engine, vec![row([0.; 4])]).unwrap().outputs[0].tensor.as_slice::<f32>().unwrap()[0]
    };
    assert_eq!([call(&mut *one), call(&mut *one), call(&mut *one)], [1., 2., 3.]);
    assert_eq!(call(&mut *other), 1., "a model that keeps state is copied for each instance");
    let mut third = model.instance().unwrap();
    assert_eq!(call(&mut *third), 1., "the copy is of the model as it was loaded");
}

#[test]
fn inputs_are_not_written_to() {
    let input = row([1., 2., 3., 4.]);
    let mut engine = load("raises").instance().unwrap();
    run(&mut *engine, vec![input.clone()]).unwrap();
    assert_eq!(input.as_slice::<f32>(), Some(&[1f32, 2., 3., 4.][..]));
}

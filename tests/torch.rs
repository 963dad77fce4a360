//! `engine/torch` on the fixture models: what libtorch really answers, through the engine seam.
//!
//! What belongs here: values, kinds of arguments and outputs, failures, memory, threads. What is
//! found out about a model before it is served is `engine/probe`'s, and tested through the server.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use half::{bf16, f16};
use sconce::engine::torch::TorchLoader;
use sconce::engine::{
    ArgumentKind, Artifact, Batch, Device, Engine, EngineError, Fault, Format, LoadOptions, Loader,
    Model, ModelForm, Precision, Rewrite, RunOutcome,
};
use sconce::tensor::{DataType, Element, Shape, Tensor};
use std::path::Path;

fn load_file(file: &str) -> Result<Box<dyn Model>, EngineError> {
    load_form(file, ModelForm::PLAIN, &[])
}

fn load_form(
    file: &str,
    form: ModelForm,
    outputs: &[DataType],
) -> Result<Box<dyn Model>, EngineError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let options =
        LoadOptions { form, outputs: outputs.to_vec(), ..LoadOptions::plain(Device::Cpu, 1) };
    TorchLoader::new().load(&Artifact::new(Format::TorchScript, path, file.to_owned()), &options)
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

fn run(engine: &mut dyn Engine, inputs: Vec<Tensor>) -> Result<RunOutcome, EngineError> {
    engine.run(Batch::without_deadline(inputs.into_iter().map(Some).collect()))
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
        let batch = Batch::without_deadline(vec![Some(row([1., 2., 3., 4.])), second]);
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
    assert!(signature.reach.operators().iter().any(|operator| operator.starts_with("aten::mul")));
    assert!(load("stateful").signature().mutates_state);
    assert!(!load("tabular").signature().mutates_state);
    let touches = |name: &str, operator: &str| {
        load(name).signature().reach.operators().iter().any(|known| known.starts_with(operator))
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

/// Every form that runs on a CPU.
fn cpu_forms() -> impl Iterator<Item = ModelForm> {
    ModelForm::all().filter(|form| form.precision != Precision::Fp16)
}

/// How far a form's answers may be from PyTorch's, relative to the largest.
fn tolerance(form: ModelForm) -> f32 {
    match (form.precision, form.rewrite) {
        (Precision::Fp32, Rewrite::Optimized) => 1e-3,
        (Precision::Fp32, _) => 1e-5,
        _ => 1e-2,
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |largest, value| largest.max(value.abs()))
}

#[track_caller]
fn agree(what: &str, form: ModelForm, got: &[f32], expected: &[f32], largest: f32) {
    assert_eq!(got.len(), expected.len(), "{what} as {form}");
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs() / largest;
        assert!(
            difference <= tolerance(form),
            "{what} as {form}, value {place}: {got}, not {expected}: {difference:e} of the largest"
        );
    }
}

/// Runs a model in every form, on all rows of a reference, in batches of several sizes, in an order that
/// is not that of the sizes: what is compiled for the first shapes must bear the next.
#[track_caller]
fn every_form_agrees(model: &str, reference: &str, row: &[usize]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(reference);
    let text = std::fs::read_to_string(path).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let table = |key: &str| -> Vec<Vec<f32>> {
        let number = |value: &serde_json::Value| value.as_f64().unwrap() as f32;
        let row = |row: &serde_json::Value| row.as_array().unwrap().iter().map(number).collect();
        document[key].as_array().unwrap().iter().take(64).map(row).collect()
    };
    let (rows, expected) = (table("instances"), table("reference"));
    let largest = largest(&expected.concat());
    for form in cpu_forms() {
        let model_file = format!("{model}/1/model.pt");
        let mut engine = load_form(&model_file, form, &[]).unwrap().instance().unwrap();
        for size in [2, 1, 3, rows.len(), 1, 5] {
            for (rows, expected) in rows.chunks(size).zip(expected.chunks(size)) {
                let dims = [&[rows.len()], row].concat();
                let outcome = run(&mut *engine, vec![tensor(&dims, &rows.concat())]).unwrap();
                let answer = outcome.outputs[0].tensor.as_slice::<f32>();
                let answer = answer.expect("FP32 comes back");
                agree(model, form, answer, &expected.concat(), largest);
            }
        }
    }
}

#[test]
fn every_form_gives_the_answers_of_pytorch() {
    every_form_agrees("models/tabular", "reference/tabular.json", &[20]);
    every_form_agrees("models/images", "reference/images.json", &[3, 8, 8]);
    every_form_agrees("../../models/digits", "held_out/digits.json", &[784]);
    every_form_agrees("../../models/breast_cancer", "held_out/breast_cancer.json", &[30]);
}

#[test]
fn every_form_follows_variable_sizes() {
    let picture = |size: usize| {
        let values: Vec<f32> = (0..2 * 3 * size * size).map(|n| (n as f32 * 0.7).sin()).collect();
        vec![tensor(&[2, 3, size, size], &values)]
    };
    let answer = |engine: &mut dyn Engine, size| {
        let outcome = run(engine, picture(size)).unwrap();
        outcome.outputs[0].tensor.as_slice::<f32>().unwrap().to_vec()
    };
    let mut plain = load("images").instance().unwrap();
    for form in cpu_forms() {
        let model = load_form("models/images/1/model.pt", form, &[]).unwrap();
        let mut engine = model.instance().unwrap();
        for size in [8, 12, 31, 8, 7] {
            let expected = answer(&mut *plain, size);
            agree("images", form, &answer(&mut *engine, size), &expected, largest(&expected));
        }
    }
}

#[test]
fn a_form_changes_neither_names_nor_datatypes_nor_whole_numbers() {
    for form in cpu_forms() {
        let load = |name: &str, outputs: &[DataType]| {
            load_form(&format!("models/{name}/1/model.pt"), form, outputs).unwrap()
        };
        let ask = |name: &str, inputs: Vec<Tensor>, outputs: &[DataType]| {
            run(&mut *load(name, outputs).instance().unwrap(), inputs).unwrap().outputs
        };
        let large = (1i64 << 53) + 1;
        let small = tensor(&[1, 4], &[255u8, 0, 1, 2]);
        let sum = ask("integers", vec![small, tensor(&[1, 2], &[large, -3])], &[]);
        assert_eq!(sum[0].tensor.as_slice::<i64>(), Some(&[large + 255][..]), "{form}");

        let x = || vec![row([1., 2., 3., 4.])];
        let mut named = ask("dict_output", x(), &[DataType::Fp32, DataType::Fp32]);
        named.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(named[1].name.as_deref(), Some("sum"), "{form}");
        assert_eq!(named[1].tensor.as_slice::<f32>(), Some(&[10f32][..]), "{form}");
        assert_eq!(ask("multi_output", x(), &[]).len(), 2, "{form}");

        let third = ask("double", vec![tensor(&[1, 4], &[3f64; 4])], &[DataType::Fp64]);
        assert_eq!(third[0].tensor.as_slice::<f64>(), Some(&[1f64; 4][..]), "{form}");
        let truth = ask("bool_output", vec![row([1., 0., -1., 2.])], &[DataType::Bool]);
        assert_eq!(truth[0].tensor.buffer().as_bytes(), [1, 0, 0, 1], "{form}");
        assert_eq!(load("methods", &[]).signature().methods.len(), 2, "{form}: as in the file");
    }
}

#[test]
fn what_keeps_state_has_one_form() {
    let frozen = ModelForm { rewrite: Rewrite::Frozen, ..ModelForm::PLAIN };
    let error = load_form("models/stateful/1/model.pt", frozen, &[]).err().unwrap();
    assert_eq!(error.fault, Fault::Unsupported, "{error}");
    let bf16 = ModelForm { precision: Precision::Bf16, ..ModelForm::PLAIN };
    let plain = load("tabular").memory();
    let half = load_form("models/tabular/1/model.pt", bf16, &[]).unwrap().memory();
    assert_eq!(half * 2, plain, "weights of two bytes take half the memory");
}

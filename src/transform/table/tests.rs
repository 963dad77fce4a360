//! Columns that come, and the numbers that a model gets of them.

use super::*;
use crate::inference::ErrorCode;

fn number(name: &str, missing: Option<f64>, mean: f64, std: f64) -> Column {
    let kind = ColumnKind::Number { missing, mean, std };
    Column { name: name.into(), input: None, kind }
}

fn category(name: &str, words: &[&str], is_one_hot: bool, missing: Option<&str>) -> Column {
    let places = words.iter().map(|word| Arc::from(*word)).zip(0..).collect();
    let missing = missing.map(Arc::from);
    let categories = Categories { places, is_one_hot, takes_others: false, missing };
    Column { name: name.into(), input: None, kind: ColumnKind::Category(categories) }
}

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    let shape = ShapePattern::from_wire(shape).unwrap();
    TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
}

fn people() -> Tabulate {
    Tabulate::new(vec![
        number("age", Some(40.0), 40.0, 10.0),
        category("city", &["Paris", "Rome", "Oslo"], true, Some("Rome")),
        category("size", &["s", "m", "l"], false, None),
        number("heads", None, 0.0, 1.0),
    ])
}

fn x() -> [TensorSpec; 1] {
    [spec("x", DataType::Fp32, &[-1, 6])]
}

fn numbers(name: &str, values: &[f64]) -> NamedTensor {
    let tensor = Tensor::from_vec(Shape::from([values.len()]), values.to_vec()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

fn words(name: &str, words: &[&str]) -> NamedTensor {
    let element = |word: &&str| [&(word.len() as u32).to_le_bytes(), word.as_bytes()].concat();
    let bytes: Vec<u8> = words.iter().flat_map(element).collect();
    let tensor = Tensor::new(DataType::Bytes, Shape::from([words.len()]), bytes.into()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

fn two_people() -> Vec<NamedTensor> {
    vec![
        words("size", &["l", "s"]),
        numbers("age", &[50.0, f64::NAN]),
        words("city", &["Oslo", ""]),
        numbers("heads", &[1.0, 2.0]),
    ]
}

#[track_caller]
fn refused(step: &Tabulate, inputs: Vec<NamedTensor>, expected: &str) {
    let error = step.apply(&x(), inputs, &mut Desk::default()).unwrap_err();
    assert_eq!((error.code, &*error.message), (ErrorCode::InvalidInput, expected));
}

#[test]
fn each_column_has_its_place_in_the_rows() {
    let made = people().apply(&x(), two_people(), &mut Desk::default()).unwrap();
    assert_eq!((made.len(), &*made[0].name), (1, "x"));
    let expected = [1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0];
    assert_eq!(
        made[0].tensor,
        Tensor::from_vec(Shape::from([2, 6]), expected.to_vec())
            .map(|it: Tensor| {
                Tensor::from_vec(it.shape().clone(), it.to_f32().unwrap()).unwrap()
            })
            .unwrap()
    );
}

#[test]
fn columns_may_lie_as_data_frames_have_them() {
    let as_column = |mut input: NamedTensor| {
        input.tensor = input.tensor.reshape(Shape::from([2, 1])).unwrap();
        input
    };
    let mut inputs: Vec<_> = two_people().into_iter().map(as_column).collect();
    let whole = Tensor::from_vec(Shape::from([2]), vec![1i64, 2]).unwrap();
    inputs[3] = NamedTensor { name: "heads".into(), tensor: whole };
    let step = people();
    let expected = step.apply(&x(), two_people(), &mut Desk::default()).unwrap();
    assert_eq!(step.apply(&x(), inputs, &mut Desk::default()).unwrap(), expected);
}

#[test]
fn columns_go_to_the_inputs_that_they_name() {
    let part_of = |column: Column, input: &str| Column { input: Some(input.into()), ..column };
    let step = Tabulate::new(vec![
        part_of(category("city", &["Paris", "Rome"], false, None), "ids"),
        part_of(number("age", Some(f64::NAN), 0.0, 1.0), "numbers"),
        part_of(category("size", &["s", "m"], false, None), "ids"),
    ]);
    let inner =
        [spec("numbers", DataType::Fp64, &[-1, 1]), spec("ids", DataType::Int64, &[-1, -1])];
    let inputs = vec![words("city", &["Rome"]), words("size", &["s"])];
    let made = step.apply(&inner, inputs, &mut Desk::default()).unwrap();
    let ids = made.iter().find(|it| &*it.name == "ids").unwrap();
    assert_eq!(ids.tensor.as_slice::<i64>(), Some(&[1, 0][..]));
    let ages = made.iter().find(|it| &*it.name == "numbers").unwrap();
    assert!(ages.tensor.as_slice::<f64>().unwrap()[0].is_nan());
}

#[test]
fn words_that_are_not_listed_are_refused_or_none() {
    let mut step = people();
    let inputs = || {
        let mut inputs = two_people();
        inputs[2] = words("city", &["Bonn", "Rome"]);
        inputs
    };
    let text = "\"city\" of row 0 is \"Bonn\", which is none of its 3 categories in model.toml";
    refused(&step, inputs(), text);
    let ColumnKind::Category(categories) = &mut step.columns[1].kind else { panic!("a category") };
    categories.takes_others = true;
    let made = step.apply(&x(), inputs(), &mut Desk::default()).unwrap();
    assert_eq!(made[0].tensor.to_f32().unwrap()[1..4], [0.0, 0.0, 0.0]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let step = people();
    let without =
        |name: &str| two_people().into_iter().filter(|it| &*it.name != name).collect::<Vec<_>>();
    refused(&step, without("heads"), "\"heads\" of row 0 is missing, expected a number");
    refused(&step, without("size"), "\"size\" of row 0 is missing, expected a word");
    let with = |input: NamedTensor| {
        let mut inputs = without(&input.name);
        inputs.push(input);
        inputs
    };
    let text = "input \"heads\" has 3 rows, but \"size\" has 2";
    refused(&step, with(numbers("heads", &[1.0, 2.0, 3.0])), text);
    let text = "\"heads\" of row 1 is 1e300, which is not finite as FP32";
    refused(
        &step,
        with(numbers("heads", &[1.0, 1e300])),
        &text.replace("1e300", &1e300.to_string()),
    );
    let mut wide = numbers("heads", &[1.0, 2.0]);
    wide.tensor = wide.tensor.reshape(Shape::from([1, 2])).unwrap();
    refused(&step, with(wide), "input \"heads\" has shape [1, 2], expected [-1] or [-1, 1]");
    let own = Tensor::from_vec(Shape::from([1, 6]), vec![0f32; 6]).unwrap();
    let own = NamedTensor { name: "x".into(), tensor: own };
    let made = step.apply(&x(), vec![own.clone()], &mut Desk::default()).unwrap();
    assert_eq!(made, std::slice::from_ref(&own));
    let text = "input \"size\" is given beside \"x\", which is made from it";
    refused(&step, with(own), text);
}

#[test]
fn a_table_that_does_not_fit_its_model_is_no_table() {
    let unfit = |step: &Tabulate, inner: &[TensorSpec]| step.specs(inner).unwrap_err().to_string();
    let step = people();
    assert_eq!(
        unfit(&step, &[spec("x", DataType::Fp32, &[-1, 5])]),
        "preprocess.columns: input \"x\" has shape [-1, 5], expected [-1, 6], which its columns make"
    );
    assert_eq!(
        unfit(&step, &[spec("x", DataType::Int64, &[-1, 6])]),
        "preprocess.columns: input \"x\" is of INT64, expected FP32 or FP64, or INT32 or INT64 where all columns are categories"
    );
    assert_eq!(
        unfit(&step, &[spec("age", DataType::Fp32, &[-1, 6])]),
        "preprocess.columns: column \"age\" is called as an input of the model"
    );
    let two = [spec("a", DataType::Fp32, &[-1, 6]), spec("b", DataType::Fp32, &[-1, 6])];
    assert_eq!(
        unfit(&step, &two),
        "preprocess.columns: column \"age\" does not say of which input it is part, and the model has several: a, b"
    );
    let mut named = step.clone();
    named.columns.iter_mut().for_each(|column| column.input = Some("a".into()));
    assert_eq!(unfit(&named, &two), "preprocess.columns: no column is part of input \"b\"");
    named.columns[0].input = Some("c".into());
    assert_eq!(
        unfit(&named, &two),
        "preprocess.columns: column \"age\" is part of \"c\", but the model's inputs are a, b"
    );
    let taken = step.specs(&x()).unwrap();
    let names: Vec<_> =
        taken.iter().map(|spec| (&*spec.name, spec.datatype, spec.optional)).collect();
    assert_eq!(names[..2], [("age", DataType::Fp64, false), ("city", DataType::Bytes, false)]);
    assert_eq!(names[4], ("x", DataType::Fp32, true));
}

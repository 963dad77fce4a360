//! What makes a request valid.

use super::*;
use crate::inference::{Batching, Contract, RefusalReason};
use crate::tensor::{Shape, ShapePattern};
use std::time::Duration;

fn spec() -> ModelSpec {
    let input = |name: &str, datatype, shape: &[i64], optional| TensorSpec {
        name: name.into(),
        datatype,
        shape: ShapePattern::from_wire(shape).unwrap(),
        optional,
        declared: true,
    };
    ModelSpec {
        inputs: vec![
            input("x", DataType::Fp32, &[-1, 2], false),
            input("ids", DataType::Int64, &[-1], false),
            input("k", DataType::Int64, &[], true),
            input("t", DataType::Bytes, &[], true),
        ],
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 3,
        contract: Contract::default(),
    }
}

fn tensor<T: crate::tensor::Element + Default>(name: &str, dims: &[usize]) -> NamedTensor {
    let shape = Shape::new(dims.to_vec());
    let values = vec![T::default(); shape.elements().unwrap()];
    NamedTensor { name: name.into(), tensor: Tensor::from_vec(shape, values).unwrap() }
}

#[track_caller]
fn check(inputs: Vec<NamedTensor>, expected: Result<usize, &str>) {
    let deadline = Instant::now() + Duration::from_secs(1);
    let context = Context::new("r", deadline);
    let outcome = ValidRequest::new(&spec(), InferRequest { context, inputs });
    let outcome = outcome.map(|request| request.n_rows()).map_err(|error| error.to_string());
    assert_eq!(outcome, expected.map_err(str::to_owned));
}

#[test]
fn requests_are_checked_against_the_spec() {
    let x = || tensor::<f32>("x", &[2, 2]);
    let ids = || tensor::<i64>("ids", &[2]);
    check(vec![ids(), x()], Ok(2));
    check(vec![x(), ids(), tensor::<i64>("k", &[])], Ok(2));
    check(vec![x()], Err("input \"ids\" is missing"));
    check(vec![x(), x(), ids()], Err("input \"x\" is given twice"));
    check(
        vec![x(), tensor::<f32>("y", &[2])],
        Err("the model has no input \"y\", its inputs are x, ids, k, t"),
    );
    let text = |bytes: &[u8]| NamedTensor {
        name: "t".into(),
        tensor: Tensor::new(DataType::Bytes, Shape::default(), bytes.to_vec().into()).unwrap(),
    };
    check(vec![x(), ids(), text(b"\x02\0\0\0\xc3\xa9")], Ok(2));
    let message = "input \"t\" is a text that is not UTF-8";
    check(vec![x(), ids(), text(b"\x01\0\0\0\xff")], Err(message));
    let message = "input \"t\" ends within element 0, expected 1 of them";
    check(vec![x(), ids(), text(b"\x02\0\0\0a")], Err(message));
    check(vec![x(), ids(), text(b"\x02\0\0")], Err(message));
    let message = "input \"t\" has 1 bytes after its 1 elements, expected none";
    check(vec![x(), ids(), text(b"\x01\0\0\0ab")], Err(message));
    check(
        vec![tensor::<f32>("x", &[2, 3]), ids()],
        Err("input \"x\" has shape [2, 3], expected [-1, 2]"),
    );
    check(
        vec![tensor::<f64>("x", &[2, 2]), ids()],
        Err("input \"x\" has datatype FP64, expected FP32"),
    );
    check(
        vec![tensor::<f32>("x", &[0, 2]), ids()],
        Err("input \"x\" has shape [0, 2], expected [-1, 2] without a dimension of size 0"),
    );
    check(vec![x(), tensor::<i64>("ids", &[1])], Err("input \"ids\" has 1 rows, but \"x\" has 2"));
    check(
        vec![tensor::<f32>("x", &[4, 2]), tensor::<i64>("ids", &[4])],
        Err("the request has 4 rows, at most 3 are allowed"),
    );
}

fn open(datatype: DataType, shape: Option<&[i64]>) -> ModelSpec {
    let shape = shape.map_or(ShapePattern::Unknown, |it| ShapePattern::from_wire(it).unwrap());
    let (name, optional, declared) = ("x".into(), false, false);
    let inputs = vec![TensorSpec { name, datatype, shape, optional, declared }];
    ModelSpec { inputs, ..spec() }
}

#[track_caller]
fn check_open(spec: &ModelSpec, input: NamedTensor, expected: (bool, bool)) -> ValidRequest {
    let deadline = Instant::now() + Duration::from_secs(1);
    let context = Context::new("r", deadline);
    let request = InferRequest { context, inputs: vec![input] };
    let request = ValidRequest::new(spec, request).unwrap();
    assert_eq!((request.fits_evidence(), request.may_share_runs()), expected);
    request
}

#[test]
fn what_is_padded_has_one_size() {
    let ids = |name: &str| TensorSpec {
        name: name.into(),
        ..open(DataType::Int64, Some(&[-1, -1])).inputs.remove(0)
    };
    let contract = Contract { one_size: vec![(0, 1), (1, 1)], ..Contract::default() };
    let spec = ModelSpec { inputs: vec![ids("ids"), ids("mask")], contract, ..spec() };
    let check = |size: usize| {
        let deadline = Instant::now() + Duration::from_secs(1);
        let context = Context::new("r", deadline);
        let inputs = vec![tensor::<i64>("ids", &[2, 4]), tensor::<i64>("mask", &[2, size])];
        ValidRequest::new(&spec, InferRequest { context, inputs }).map(drop)
    };
    assert!(check(4).is_ok());
    let error = check(3).unwrap_err();
    assert_eq!(error.message, "input \"mask\" has size 3 in dimension 1, but \"ids\" has 4");
}

#[test]
fn what_nobody_declared_binds_nobody() {
    let mut words = open(DataType::Int64, Some(&[-1, 8]));
    check_open(&words, tensor::<i64>("x", &[2, 5]), (false, false));
    words.contract.batching_scope.any_sizes = true;
    check_open(&words, tensor::<i64>("x", &[2, 8]), (true, true));
    check_open(&words, tensor::<i64>("x", &[2, 5]), (false, true));
    check_open(&words, tensor::<i64>("x", &[2, 5, 8]), (false, false));
    let request = check_open(&words, tensor::<f32>("x", &[2, 8]), (false, false));
    let error = words.refused(&request, RefusalReason::Raised);
    assert_eq!(
        (error.code, &*error.message),
        (
            crate::inference::ErrorCode::InvalidInput,
            "the model raised an error on x FP32 [2, 8], and it is known to work with x INT64 [-1, 8]: \
             if the request is right, declare inputs in model.toml (numbers of JSON are FP32 where nothing is declared)"
        )
    );
    let unknown = open(DataType::Fp32, None);
    let request = check_open(&unknown, tensor::<i64>("x", &[3]), (false, false));
    assert!(
        unknown
            .refused(&request, RefusalReason::OtherForm)
            .message
            .contains("no input is known to work")
    );
    // Two of different first dimensions: nobody said that these are rows.
    let two = |declared| {
        let mut two = open(DataType::Fp32, Some(&[-1]));
        two.inputs[0].declared = declared;
        two.inputs.push(TensorSpec { name: "y".into(), ..two.inputs[0].clone() });
        let deadline = Instant::now() + Duration::from_secs(1);
        let context = Context::new("r", deadline);
        let inputs = vec![tensor::<f32>("x", &[2]), tensor::<f32>("y", &[3])];
        ValidRequest::new(&two, InferRequest { context, inputs })
    };
    assert!(!two(false).unwrap().may_share_runs());
    assert!(two(true).is_err());
    // Texts are no tensors, and a tensor without elements is none to run with.
    let bytes = unknown.inputs[0].check(DataType::Bytes, &Shape::from([1])).unwrap_err();
    assert_eq!(bytes.message, "input \"x\" has datatype BYTES, expected FP32");
    assert!(unknown.inputs[0].check(DataType::Fp32, &Shape::from([2, 0])).is_err());
}

/// Models take texts as `str`, which is UTF-8: anything else would fail in the engine, which would
/// then be taken for broken.
#[test]
fn elements_of_lists_are_texts_as_many_as_the_shape_says() {
    let words = TensorSpec {
        name: "words".into(),
        datatype: DataType::Bytes,
        shape: ShapePattern::from_wire(&[-1]).unwrap(),
        optional: false,
        declared: true,
    };
    let spec = ModelSpec { inputs: vec![words], ..spec() };
    let check = |n_texts: usize, bytes: &[u8], expected: Result<(), &str>| {
        let tensor = Tensor::new(DataType::Bytes, Shape::from([n_texts]), bytes.to_vec().into());
        let inputs = vec![NamedTensor { name: "words".into(), tensor: tensor.unwrap() }];
        let deadline = Instant::now() + Duration::from_secs(1);
        let context = Context::new("r", deadline);
        let outcome = ValidRequest::new(&spec, InferRequest { context, inputs });
        let outcome = outcome.map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(outcome, expected.map_err(str::to_owned), "{bytes:?}");
    };
    check(2, b"\0\0\0\0\x02\0\0\0\xc3\xa9", Ok(()));
    check(1, b"\x03\0\0\0a\0b", Ok(()));
    let error = "input \"words\" has a text that is not UTF-8, element 1";
    check(2, b"\x01\0\0\0a\x01\0\0\0\xff", Err(error));
    check(2, b"\x01\0\0\0a\x01\0\0\0\xc3", Err(error));
    let error = "input \"words\" ends within element 2, expected 3 of them";
    check(3, b"\x01\0\0\0a\x01\0\0\0b", Err(error));
    let error = "input \"words\" has 5 bytes after its 1 elements, expected none";
    check(1, b"\x01\0\0\0a\x01\0\0\0b", Err(error));
}

//! What holds for the bodies of every protocol, and that none of them brings an engine to blame itself.

use super::json::MARK;
use super::testing::{input, one, spec, table, tensor, texts};
use super::torchserve::Media;
use super::{instances, open_inference, predict, torchserve};
use crate::engine::fake::FakeModel;
use crate::engine::{Batch, EngineError, Fault, Model};
use crate::inference::{
    Context, ErrorCode, InferError, InferRequest, ModelSpec, NamedTensor, ValidRequest,
};
use crate::tensor::{Buffer, DataType, Element, Tensor};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// A way by which a body comes.
#[derive(Debug, Clone)]
enum Wire {
    Predict,
    PredictRaw,
    V1,
    V2,
    /// So many bytes of it are JSON.
    V2Binary(usize),
    TorchServe(Media),
}

const BOUNDARY: &str = "XX";

impl Wire {
    fn all(json_len: usize) -> Vec<Self> {
        let form = Media::Form { boundary: BOUNDARY.to_owned() };
        let torchserve = [Media::Json, Media::Plain, Media::Unstated, form].map(Self::TorchServe);
        let others = [Self::Predict, Self::PredictRaw, Self::V1, Self::V2];
        let binary = [Self::V2Binary(0), Self::V2Binary(json_len)];
        others.into_iter().chain(binary).chain(torchserve).collect()
    }

    fn decode(&self, body: &[u8], spec: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
        // As a body may lie: nowhere in particular.
        let body = Buffer::from([&[0], body].concat()).slice(1..body.len() + 1);
        match self {
            Self::Predict => predict::decode(body.as_bytes(), spec).map(|it| it.inputs),
            Self::PredictRaw => predict::decode_raw(body, spec).map(|it| it.inputs),
            Self::V1 => instances::decode(body.as_bytes(), spec).map(|it| it.inputs),
            Self::V2 => open_inference::decode(body, None, spec).map(|it| it.inputs),
            Self::V2Binary(len) => {
                open_inference::decode(body, Some(*len), spec).map(|it| it.inputs)
            }
            Self::TorchServe(media) => torchserve::decode(body, media, spec).map(|it| it.inputs),
        }
    }
}

#[test]
fn an_empty_body_is_called_empty_on_every_way() {
    let models = [one(DataType::Fp32, Some(&[-1, 2])), one(DataType::Bytes, Some(&[-1]))];
    for spec in &models {
        for wire in Wire::all(0) {
            let error = wire.decode(b"", spec).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidBody, "{wire:?}: {error}");
            let text = error.to_string();
            assert!(text.starts_with("the body is empty, expected "), "{wire:?}: {text}");
        }
    }
    for wire in [Wire::Predict, Wire::V1, Wire::V2, Wire::TorchServe(Media::Json)] {
        for blank in [&b" \n"[..], MARK, b"\xef\xbb\xbf\r\n"] {
            let error = wire.decode(blank, &models[0]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("the body is empty, expected "), "{wire:?}: {text}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped_on_every_way() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let expected = [tensor("x", &[1, 2], &[1f32, 2.0])];
    let marked = |text: &str| [MARK, text.as_bytes()].concat();
    let check = |wire: Wire, body: &[u8]| {
        assert_eq!(wire.decode(body, &x).unwrap(), expected, "{wire:?}");
    };
    let instances = marked(r#"{"instances":[[1,2]]}"#);
    let v2 = marked(r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#);
    check(Wire::Predict, &instances);
    check(Wire::V1, &instances);
    check(Wire::V2, &v2);
    check(Wire::V2Binary(v2.len()), &v2);
    check(Wire::TorchServe(Media::Json), &instances);
    check(Wire::TorchServe(Media::Unstated), &marked("[[1,2]]"));
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n");
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let form = [head.as_bytes(), &marked("[1,2]"), end.as_bytes()].concat();
    check(Wire::TorchServe(Media::Form { boundary: BOUNDARY.to_owned() }), &form);
}

#[test]
fn rows_of_a_table_come_on_every_way() {
    let spec = table();
    let age = tensor("age", &[2], &[34f64, f64::NAN]);
    let city = texts("city", &[2], &[b"Paris", b""]);
    let same = |inputs: &[NamedTensor]| {
        let find = |name: &str| inputs.iter().find(|it| &*it.name == name).unwrap();
        // NaN is no equal of itself.
        let bytes = |it: &NamedTensor| it.tensor.buffer().as_bytes().to_vec();
        [("age", &age), ("city", &city)].map(|(name, it)| bytes(find(name)) == bytes(it))
    };
    let rows = r#"[{"age": 34, "city": "Paris"}, {"city": null}]"#;
    let v2 = r#"{"inputs": [
        {"name": "age", "datatype": "FP64", "shape": [2, 1], "data": [34, null]},
        {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Paris", null]}]}"#;
    let csv = "city,age\nParis,34\n,\n";
    for (wire, body) in [
        (Wire::Predict, format!("{{\"rows\": {rows}}}")),
        (Wire::Predict, format!("{{\"instances\": {rows}}}")),
        (Wire::Predict, r#"{"inputs": {"age": [34, null], "city": ["Paris", ""]}}"#.to_owned()),
        (Wire::V1, format!("{{\"instances\": {rows}}}")),
        (Wire::V2, v2.to_owned()),
        (Wire::TorchServe(Media::Json), rows.to_owned()),
        (Wire::TorchServe(Media::Json), format!("{{\"data\": {rows}}}")),
        (Wire::TorchServe(Media::Csv), csv.to_owned()),
    ] {
        let inputs = wire.decode(body.as_bytes(), &spec).unwrap();
        assert_eq!(same(&inputs), [true; 2], "{wire:?} {body} {inputs:?}");
    }
    for (wire, body) in [
        (Wire::Predict, r#"{"row": {"age": true, "city": 75001}}"#),
        (Wire::Predict, r#"{"features": {"city": "75001", "age": 1}}"#),
        (Wire::TorchServe(Media::Json), r#"{"data": {"city": "75001", "age": 1}}"#),
        (
            Wire::V2,
            r#"{"inputs": [
            {"name": "age", "datatype": "INT8", "shape": [1], "data": [1]},
            {"name": "city", "datatype": "BYTES", "shape": [1, 1], "data": [75001]}]}"#,
        ),
    ] {
        let inputs = wire.decode(body.as_bytes(), &spec).unwrap();
        let find = |name: &str| inputs.iter().find(|it| &*it.name == name).unwrap();
        assert_eq!(find("age").tensor.to_f64().unwrap(), [1.0], "{wire:?} {body}");
        assert_eq!(find("city").tensor.byte_elements().unwrap(), [b"75001"], "{wire:?} {body}");
    }
    // Its own tensor, and rows that leave out everything.
    let own = Wire::Predict.decode(br#"{"instances": [[1, 2], [3, 4]]}"#, &spec).unwrap();
    assert_eq!(own, [tensor("x", &[2, 2], &[1f32, 2.0, 3.0, 4.0])]);
    let empty = Wire::Predict.decode(br#"{"rows": [{}, {}]}"#, &spec).unwrap();
    assert!(empty[0].tensor.to_f64().unwrap().iter().all(|it| it.is_nan()));
    let error = Wire::Predict.decode(br#"{"row": {"age": "old"}}"#, &spec).unwrap_err();
    assert_eq!(error.message, "input \"age\" at [0]: expected a number, got a string");
    let error = Wire::Predict.decode(br#"{"row": [{"age": 1}]}"#, &spec).unwrap_err();
    assert_eq!(error.message, "\"row\" is an array, expected one row: \"rows\" takes several");
    let error = Wire::Predict.decode(br#"{"rows": [{"age": 1, "age": 2}]}"#, &spec).unwrap_err();
    assert_eq!(error.message, "input \"age\" is given twice");
}

/// Every kind of input that an engine takes: tensors, lists of texts, plain values.
fn specs() -> Vec<ModelSpec> {
    let tensors = DataType::ALL.iter().filter(|it| **it != DataType::Bytes);
    let tensors = tensors.flat_map(|&datatype| {
        [Some(&[-1, 2][..]), Some(&[2, 2]), Some(&[-1, -1, 2]), None].map(|it| one(datatype, it))
    });
    let scalar = |datatype| {
        spec(vec![
            input("x", DataType::Fp32, Some(&[-1, 2]), false),
            input("k", datatype, Some(&[]), false),
        ])
    };
    let scalars = [DataType::Int64, DataType::Fp64, DataType::Bool, DataType::Bytes].map(scalar);
    let texts = spec(vec![
        input("words", DataType::Bytes, Some(&[-1]), false),
        input("k", DataType::Bytes, Some(&[]), true),
    ]);
    tensors.chain(scalars).chain([one(DataType::Bytes, Some(&[-1])), texts]).collect()
}

/// A model as particular about its inputs as `engine::torch` is: what that one blames itself for, this one
/// does.
fn particular() -> FakeModel {
    FakeModel::new(|batch| match batch.inputs.iter().flatten().try_for_each(taken) {
        Ok(()) => Ok(vec![]),
        Err(problem) => Err(EngineError::new(Fault::Internal, problem)),
    })
}

fn taken(tensor: &Tensor) -> Result<(), String> {
    fn lies_well<T: Element>(tensor: &Tensor) -> bool {
        tensor.as_slice::<T>().map(<[T]>::len) == tensor.shape().elements()
    }
    let bytes = tensor.buffer().as_bytes();
    let good = match tensor.datatype() {
        DataType::Bytes => return are_texts(tensor),
        DataType::Bool => bytes.iter().all(|byte| *byte < 2),
        DataType::UInt8 => lies_well::<u8>(tensor),
        DataType::UInt16 => lies_well::<u16>(tensor),
        DataType::UInt32 => lies_well::<u32>(tensor),
        DataType::UInt64 => lies_well::<u64>(tensor),
        DataType::Int8 => lies_well::<i8>(tensor),
        DataType::Int16 => lies_well::<i16>(tensor),
        DataType::Int32 => lies_well::<i32>(tensor),
        DataType::Int64 => lies_well::<i64>(tensor),
        DataType::Fp16 => lies_well::<half::f16>(tensor),
        DataType::Bf16 => lies_well::<half::bf16>(tensor),
        DataType::Fp32 => lies_well::<f32>(tensor),
        DataType::Fp64 => lies_well::<f64>(tensor),
    };
    if good && !bytes.is_empty() { Ok(()) } else { Err(format!("{tensor:?} is not well-formed")) }
}

fn are_texts(tensor: &Tensor) -> Result<(), String> {
    let mut rest = tensor.buffer().as_bytes();
    for _ in 0..tensor.shape().elements().ok_or("more texts than can be counted")? {
        let (length, behind) = rest.split_first_chunk().ok_or("a length is cut off")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, behind) = behind.split_at_checked(length).ok_or("a text is cut off")?;
        std::str::from_utf8(text).map_err(|error| error.to_string())?;
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err("bytes behind the last text".to_owned()) }
}

/// Gives a request to an engine, if it is one that may be given: whatever is wrong with it is the
/// client's fault and has been found before.
#[track_caller]
fn infer(spec: &ModelSpec, inputs: Result<Vec<NamedTensor>, InferError>) -> Result<(), ErrorCode> {
    let deadline = Instant::now() + Duration::from_secs(1);
    let context = Context::new("r", deadline);
    let valid = inputs.and_then(|inputs| ValidRequest::new(spec, InferRequest { context, inputs }));
    let valid = valid.map_err(|error| error.code)?;
    let model = particular();
    let outcome = model.instance().unwrap().run(Batch::without_deadline(valid.inputs().to_vec()));
    if let Err(error) = outcome {
        panic!("the engine was given what it cannot take: {error}, {valid:?}");
    }
    Ok(())
}

/// A body that some client of some protocol could send for one of the models, more or less.
fn likely(position: usize) -> String {
    let bodies = [
        r#"{"features":[1,2]}"#,
        r#"{"instances":[[1,2],[3,0]]}"#,
        r#"{"instances":[[true,false]]}"#,
        r#"{"inputs":{"x":[[1,0],[1,1]],"k":1}}"#,
        r#"{"inputs":{"x":[[1,0]],"k":"a"}}"#,
        r#"{"inputs":{"x":[[1,0]],"k":{"b64":"/w=="}}}"#,
        r#"{"inputs":{"words":["a",{"b64":"/w=="}],"k":"b"}}"#,
        r#"{"instances":["a\u0000","\ud83d\ude00",{"b64":"w6k="}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"BOOL","shape":[1,2],"parameters":{"binary_data_size":2}}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}}]}"#,
        r#"{"inputs":[{"name":"words","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}},{"name":"k","datatype":"BYTES","shape":[],"parameters":{"binary_data_size":5}}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"INT64","shape":[4611686018427387904,4],"data":[]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[4611686018427387904],"data":["a"]}]}"#,
        "--XX\r\nContent-Disposition: form-data; name=\"x\"; filename=\"x\"\r\n\r\n01234567\r\n--XX--\r\n",
        "--XX\r\nContent-Disposition: form-data; name=\"words\"\r\n\r\na\r\n--XX\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n5\r\n--XX--\r\n",
        "[[1,2]]",
        "\"a\"",
        "",
    ];
    bodies[position % bodies.len()].to_owned()
}

/// Bytes of elements: lengths of texts among them, and of any other value.
fn tail() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\x01\0\0\0".to_vec()),
        Just(b"\xff\xff\xff\xff".to_vec()),
        Just("é\0".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever bytes come by whatever protocol for whatever model: what reaches an engine is what it takes.
    #[test]
    fn no_body_is_an_engines_fault(
        body in any::<usize>(),
        tail in tail(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = likely(body).into_bytes();
        let json_len = bytes.len();
        bytes.extend(tail);
        for (place, byte) in flips {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        for spec in &specs() {
            for wire in Wire::all(json_len) {
                let inputs = wire.decode(&bytes, spec);
                let outcome = infer(spec, inputs);
                let ours = [ErrorCode::Internal, ErrorCode::InferenceFailed];
                let is_ours = outcome.err().is_some_and(|code| ours.contains(&code));
                prop_assert!(!is_ours, "{wire:?} {spec:?} {bytes:?}");
            }
        }
    }

    /// The same of tensors that no protocol would have made.
    #[test]
    fn no_tensor_is_an_engines_fault(
        datatype in prop::sample::select(DataType::ALL),
        dims in prop::collection::vec(0usize..4, 0..4),
        tail in tail(),
        name in prop::sample::select(&["x", "k", "words", "y"][..]),
    ) {
        let shape = crate::tensor::Shape::new(dims);
        let mut bytes = tail;
        if let Some(size) = datatype.byte_size() {
            bytes.resize(shape.elements().unwrap() * size, 1);
        }
        if datatype == DataType::Bool {
            bytes.iter_mut().for_each(|byte| *byte &= 1);
        }
        let tensor = Tensor::new(datatype, shape, Buffer::copy_aligned(&bytes)).unwrap();
        let x = super::testing::tensor("x", &[1, 2], &[1f32, 2.0]);
        for spec in &specs() {
            let named = NamedTensor { name: name.into(), tensor: tensor.clone() };
            for inputs in [vec![named.clone()], vec![x.clone(), named]] {
                let outcome = infer(spec, Ok(inputs));
                prop_assert!(matches!(outcome, Ok(()) | Err(ErrorCode::InvalidInput)));
            }
        }
    }
}

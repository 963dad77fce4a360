//! Fuzz targets for the decoders of the protocols, and for the steps that make tensors of files and texts: what a client sends,
//! whatever it is, must end in tensors that are what they say, or in an error.
//!
//! For the protocols the first byte of an input chooses the model's specification, the rest is the body. With
//! `cargo-fuzz`, a nightly compiler or `RUSTC_BOOTSTRAP=1`, from the root of the repository:
//!
//! ```text
//! cargo fuzz run open_inference fuzz/corpus/open_inference fuzz/seeds/open_inference -- \
//!     -dict=fuzz/json.dict -max_total_time=300
//! ```

use sconce::inference::{
    AnswerForm, Batching, Context, Contract, InferRequest, InferResponse, Layout, ModelSpec,
    NamedTensor, TensorSpec, Timings, ValidRequest, Version, Work,
};
use sconce::protocol::open_inference::{self, InferBody};
use sconce::tensor::{Buffer, DataType, Shape, ShapePattern, Tensor};
use std::time::Instant;

/// Shapes of the model's input; `None` is one that is not known.
const SHAPES: [Option<&[i64]>; 6] =
    [Some(&[]), Some(&[-1]), Some(&[-1, -1]), Some(&[-1, 2]), None, Some(&[2, -1, 1])];

/// Splits an input of the fuzzer into a specification and a body.
#[must_use]
pub fn split(data: &[u8]) -> Option<(ModelSpec, &[u8])> {
    let (&choice, body) = data.split_first()?;
    let choice = usize::from(choice);
    let n_datatypes = DataType::ALL.len();
    let datatype = DataType::ALL[choice % n_datatypes];
    let shape = SHAPES[choice / n_datatypes % SHAPES.len()];
    let shape = shape.map_or(ShapePattern::Unknown, pattern);
    let input = |name: &str, datatype, shape, optional| TensorSpec {
        name: name.into(),
        datatype,
        shape,
        optional,
        declared: true,
    };
    let inputs = vec![
        input("x", datatype, shape.clone(), false),
        input("b", DataType::UInt8, pattern(&[-1]), true),
        input("k", DataType::Int64, pattern(&[]), true),
    ];
    let outputs = vec![input("x", datatype, shape, false)];
    Some((ModelSpec { inputs, outputs, batching: Batching::Proved, max_rows: 4, contract: Contract::default() }, body))
}

fn pattern(shape: &[i64]) -> ShapePattern {
    ShapePattern::from_wire(shape).expect("the shapes above are shapes")
}

/// An answer that gives back what a request sent.
#[must_use]
pub fn echo(inputs: &[NamedTensor]) -> InferResponse {
    InferResponse {
        model: "m".parse().expect("a letter is a name"),
        version: Version(1),
        request_id: "r".into(),
        outputs: inputs.to_vec(),
        n_rows: inputs.first().map_or(1, |input| input.tensor.n_rows()),
        extras: Vec::new(),
        timings: Timings::default(),
        work: Work::default(),
        layout: Layout { form: AnswerForm::Whole, is_sole: false, absent: Vec::new() },
    }
}

/// Checks tensors that a decoder has let through.
///
/// # Panics
///
/// When one is not what it says it is, or does not come back as it was from being written and read.
pub fn check(spec: &ModelSpec, inputs: Vec<NamedTensor>) {
    for NamedTensor { tensor, .. } in &inputs {
        let size = tensor.datatype().byte_size().unwrap_or(1);
        let address = tensor.buffer().as_bytes().as_ptr().addr();
        assert!(tensor.buffer().is_empty() || address.is_multiple_of(size), "elements lie askew");
    }
    for members in ["\"parameters\":{\"binary_data_output\":true}", "\"id\":\"a\""] {
        comes_back(spec, &inputs, members);
    }
    let context = Context { request_id: "r".into(), deadline: Instant::now(), trace: None };
    drop(ValidRequest::new(spec, InferRequest { context, inputs }));
}

/// Writes the tensors as an answer, and reads that as a request.
fn comes_back(spec: &ModelSpec, inputs: &[NamedTensor], members: &str) {
    let ask = format!("{{{members},\"inputs\":[]}}").into_bytes();
    let ask = open_inference::decode(ask.into(), None, spec).expect("a request of no inputs");
    let response = echo(inputs);
    let InferBody { bytes, json_len } =
        open_inference::encode(&response, &ask.plan, &[]).expect("all outputs are there");
    let is_binary = json_len.is_some();
    let (json, tail) = bytes.split_at(json_len.unwrap_or(bytes.len()));
    let json = std::str::from_utf8(json).expect("JSON is UTF-8");
    let json = json.replacen("\"outputs\"", "\"inputs\"", 1);
    let body = Buffer::from([json.as_bytes(), tail].concat());
    match open_inference::decode(body, is_binary.then_some(json.len()), spec) {
        // JSON has no NaN, and no texts that are not UTF-8.
        Err(error) => assert!(!is_binary, "{error}: {json}"),
        Ok(again) if is_binary => assert_eq!(again.inputs, inputs),
        Ok(again) => {
            let same = |(a, b): (&NamedTensor, &NamedTensor)| {
                a == b || a.tensor.datatype() == DataType::Bytes
            };
            assert!(again.inputs.iter().zip(inputs).all(same), "{json}");
        }
    }
}

/// An input that a model declares.
#[must_use]
pub fn input(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: pattern(shape), optional: false, declared: true }
}

/// One element of `BYTES` by this name.
///
/// # Panics
///
/// Inputs of more than 4 GiB.
#[must_use]
pub fn content(name: &str, bytes: &[u8]) -> NamedTensor {
    let length = u32::try_from(bytes.len()).expect("inputs are short");
    let buffer = Buffer::from([&length.to_le_bytes()[..], bytes].concat());
    let tensor = Tensor::new(DataType::Bytes, Shape::from([1]), buffer).expect("it is one element");
    NamedTensor { name: name.into(), tensor }
}

//! What holds for every tensor and every body.

use super::*;
use crate::inference::{ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::testing::{all, any_tensor, any_texts, of_pattern, response};
use crate::tensor::{Buffer, DataType, Dim, ShapePattern, Tensor};
use proptest::prelude::*;

fn any_tensor_or_texts() -> impl Strategy<Value = Tensor> {
    prop_oneof![3 => any_tensor(), 1 => any_texts()]
}

/// Whether every element can be written in JSON and read back: not so NaN, the infinities, and
/// elements of `BYTES` that are no texts.
fn is_writable(tensor: &Tensor) -> bool {
    let mut rest = tensor.buffer().as_bytes();
    while tensor.datatype() == DataType::Bytes
        && let Some((len, behind)) = rest.split_first_chunk()
    {
        let (element, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
        if std::str::from_utf8(element).is_err() {
            return false;
        }
        rest = behind;
    }
    all(tensor, f64::is_finite)
}

/// The request that sends what an answer holds.
fn request(tensor: &Tensor, binary: bool) -> (Vec<u8>, Option<usize>) {
    let outputs = vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }];
    let response = response(outputs, tensor.n_rows(), None);
    let plan = Plan { binary, ..Plan::default() };
    let InferBody { bytes, json_len } = encode(&response, &plan, &[]).unwrap();
    let (json, tail) = bytes.split_at(json_len.unwrap_or(bytes.len()));
    let json = std::str::from_utf8(json).unwrap().replacen("\"outputs\"", "\"inputs\"", 1);
    let len = json_len.map(|_| json.len());
    ([json.as_bytes(), tail].concat(), len)
}

/// Declared shapes to read arbitrary requests by.
const WIRE_SHAPES: &[Option<&[i64]>] =
    &[None, Some(&[]), Some(&[-1]), Some(&[-1, 2]), Some(&[2, -1, 1]), Some(&[-1, -1])];

fn pattern(wire: Option<&[i64]>) -> ShapePattern {
    wire.map_or(ShapePattern::Unknown, |wire| ShapePattern::from_wire(wire).unwrap())
}

fn any_spec() -> impl Strategy<Value = ModelSpec> {
    let shape = prop::sample::select(WIRE_SHAPES);
    (prop::sample::select(DataType::ALL), shape)
        .prop_map(|(datatype, wire)| of_pattern(datatype, pattern(wire)))
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_tensor_or_texts(), offset in 0..4usize) {
        let fixed = |&size: &usize| Dim::Fixed(size);
        let dims = tensor.shape().dims();
        let exact = ShapePattern::Dims(dims.iter().map(fixed).collect());
        for pattern in [exact, ShapePattern::Unknown] {
            for binary in [true, false] {
                if !binary && !is_writable(&tensor) {
                    continue;
                }
                let (body, json_len) = request(&tensor, binary);
                // Wherever the body lies in memory.
                let placed = Buffer::copy_aligned(&[&[0; 4][..offset], &body].concat());
                let body = placed.slice(offset..placed.len());
                let decoded = decode(body, json_len, &of_pattern(tensor.datatype(), pattern.clone())).unwrap();
                prop_assert_eq!(&decoded.inputs[0].tensor, &tensor);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        json_len in prop::option::of(0..70usize),
        spec in any_spec(),
    ) {
        drop(decode(bytes.into(), json_len, &spec));
    }

    #[test]
    fn arbitrary_requests_never_panic(
        value in r#"([\[\]{},: 0-9e.\-"]|"x":|null|true|\[1,2\]){0,24}"#,
        key in prop::sample::select(
            &["name", "datatype", "shape", "data", "parameters", "inputs", "outputs", "id"][..]
        ),
        spec in any_spec(),
    ) {
        let datatype = spec.inputs[0].datatype;
        let input = |shape: &str| {
            format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"{key}":{value}}}]}}"#)
        };
        for body in [input("[1,2]"), input("[2]"), format!(r#"{{"inputs":[],"{key}":{value}}}"#)] {
            drop(decode(body.into_bytes().into(), None, &spec));
        }
    }

    #[test]
    fn mutated_bodies_never_panic(
        tensor in any_tensor_or_texts(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
        spec in any_spec(),
    ) {
        for binary in [true, false] {
            let (mut body, json_len) = request(&tensor, binary);
            for (at, byte, kind) in &edits {
                let at = at.index(body.len());
                match kind {
                    0 => body[at] = *byte,
                    1 => body.insert(at, *byte),
                    _ => body.truncate(at.max(1)),
                }
            }
            let spec = ModelSpec {
                inputs: vec![TensorSpec { datatype: tensor.datatype(), ..spec.inputs[0].clone() }],
                ..spec.clone()
            };
            // What is accepted is what it says it is: `Tensor::new` has checked it.
            drop(decode(body.into(), json_len, &spec));
        }
    }

    #[test]
    fn classes_are_found_in_any_tensor(tensor in any_tensor_or_texts(), n in 1..9usize, n_rows in 1..5usize) {
        let requested = format!(r#""outputs":[{{"name":"x","parameters":{{"classification":{n}}}}}]"#);
        let body = format!("{{{requested},\"inputs\":[]}}").into_bytes();
        let decoded = decode(body.into(), None, &of_pattern(DataType::Fp32, ShapePattern::Unknown)).unwrap();
        let outputs = vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }];
        let response = response(outputs, n_rows, None);
        let outcome = encode(&response, &decoded.plan, &["a".into()]);
        prop_assert_eq!(outcome.is_ok(), tensor.datatype() != DataType::Bytes);
        if let Ok(encoded) = outcome {
            let json: serde_json::Value = serde_json::from_slice(&encoded.bytes).unwrap();
            let output = &json["outputs"][0];
            let sizes = output["shape"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap());
            let n_classes = output["data"].as_array().unwrap().len();
            prop_assert_eq!(sizes.product::<u64>(), u64::try_from(n_classes).unwrap());
        }
    }
}

//! What holds for every tensor and every body.

use super::*;
use crate::inference::{
    Batching, InferResponse, ModelSpec, NamedTensor, TensorSpec, Timings, Version,
};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;

/// Whether every element can be written in JSON and read back: not so NaN, the infinities, and
/// elements of `BYTES` that are no texts.
fn is_writable(tensor: &Tensor) -> bool {
    match tensor.datatype() {
        DataType::Fp16 => tensor.as_slice::<f16>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Bf16 => tensor.as_slice::<bf16>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Fp32 => tensor.as_slice::<f32>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Fp64 => tensor.as_slice::<f64>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Bytes => {
            elements(tensor).iter().all(|element| std::str::from_utf8(element).is_ok())
        }
        _ => true,
    }
}

fn elements(tensor: &Tensor) -> Vec<&[u8]> {
    let mut rest = tensor.buffer().as_bytes();
    let mut elements = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk() {
        let (element, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
        elements.push(element);
        rest = behind;
    }
    elements
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..5),
        any::<String>().prop_map(String::into_bytes),
    ]
}

/// An element of `BYTES` as it lies in a tensor.
fn prefixed(element: impl AsRef<[u8]>) -> Vec<u8> {
    let len = u32::try_from(element.as_ref().len()).unwrap();
    [&len.to_le_bytes(), element.as_ref()].concat()
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let dims = prop::collection::vec(1usize..5, 0..5);
    (prop::sample::select(DataType::ALL), dims).prop_flat_map(|(datatype, dims)| {
        let shape = Shape::new(dims);
        let n_elements = shape.elements().unwrap();
        let bytes = match datatype.byte_size() {
            Some(size) => prop::collection::vec(any::<u8>(), n_elements * size).boxed(),
            // A plain value is a text.
            None if shape.rank() == 0 => any::<String>().prop_map(prefixed).boxed(),
            None => prop::collection::vec(element(), n_elements)
                .prop_map(|elements| elements.into_iter().flat_map(prefixed).collect())
                .boxed(),
        };
        bytes.prop_map(move |mut bytes| {
            if datatype == DataType::Bool {
                bytes.iter_mut().for_each(|byte| *byte &= 1);
            }
            Tensor::new(datatype, shape.clone(), Buffer::copy_aligned(&bytes)).unwrap()
        })
    })
}

fn spec(datatype: DataType, shape: ShapePattern) -> ModelSpec {
    let input = TensorSpec { name: "x".into(), datatype, shape, optional: false };
    ModelSpec { inputs: vec![input], outputs: vec![], batching: Batching::Safe, max_rows: 5 }
}

/// The request that sends what an answer holds.
fn request(tensor: &Tensor, binary: bool) -> (Vec<u8>, Option<usize>) {
    let response = InferResponse {
        model: "m".parse().unwrap(),
        version: Version(1),
        request_id: "r".into(),
        outputs: vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }],
        n_rows: tensor.n_rows(),
        labels: None,
        timings: Timings::default(),
    };
    let plan = Plan { binary, ..Plan::default() };
    let Encoded { bytes, json_len } = encode(&response, &plan, &[]).unwrap();
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
        .prop_map(|(datatype, wire)| spec(datatype, pattern(wire)))
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_tensor(), offset in 0..4usize) {
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
                let decoded = decode(body, json_len, &spec(tensor.datatype(), pattern.clone())).unwrap();
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
        tensor in any_tensor(),
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
    fn classes_are_found_in_any_tensor(tensor in any_tensor(), n in 1..9usize, n_rows in 1..5usize) {
        let requested = format!(r#""outputs":[{{"name":"x","parameters":{{"classification":{n}}}}}]"#);
        let body = format!("{{{requested},\"inputs\":[]}}").into_bytes();
        let decoded = decode(body.into(), None, &spec(DataType::Fp32, ShapePattern::Unknown)).unwrap();
        let response = InferResponse {
            model: "m".parse().unwrap(),
            version: Version(1),
            request_id: "r".into(),
            outputs: vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }],
            n_rows,
            labels: None,
            timings: Timings::default(),
        };
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

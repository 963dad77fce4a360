//! What holds for every tensor and every body.

use super::*;
use crate::inference::{
    Batching, InferResponse, ModelSpec, NamedTensor, TensorSpec, Timings, Version,
};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;

/// Whether every element can be written in JSON and read back: not so NaN and the infinities.
fn is_finite(tensor: &Tensor) -> bool {
    match tensor.datatype() {
        DataType::Fp16 => tensor.as_slice::<f16>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Bf16 => tensor.as_slice::<bf16>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Fp32 => tensor.as_slice::<f32>().unwrap().iter().all(|value| value.is_finite()),
        DataType::Fp64 => tensor.as_slice::<f64>().unwrap().iter().all(|value| value.is_finite()),
        _ => true,
    }
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let datatypes: Vec<_> =
        DataType::ALL.iter().copied().filter(|d| *d != DataType::Bytes).collect();
    let dims = prop::collection::vec(1usize..5, 0..5);
    (prop::sample::select(datatypes), dims)
        .prop_flat_map(|(datatype, dims)| {
            let shape = Shape::new(dims);
            let n_bytes = shape.elements().unwrap() * datatype.byte_size().unwrap();
            prop::collection::vec(any::<u8>(), n_bytes).prop_map(move |mut bytes| {
                if datatype == DataType::Bool {
                    bytes.iter_mut().for_each(|byte| *byte &= 1);
                }
                Tensor::new(datatype, shape.clone(), Buffer::copy_aligned(&bytes)).unwrap()
            })
        })
        .prop_filter("JSON has no NaN", is_finite)
}

fn spec(datatype: DataType, shape: ShapePattern) -> ModelSpec {
    let input = TensorSpec { name: "x".into(), datatype, shape, optional: false };
    ModelSpec { inputs: vec![input], outputs: vec![], batching: Batching::Safe, max_rows: 5 }
}

/// The body that sends what an answer of this form holds.
fn body(tensor: &Tensor, form: Form) -> Vec<u8> {
    let response = InferResponse {
        model: "m".parse().unwrap(),
        version: Version(1),
        request_id: "r".into(),
        outputs: vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }],
        n_rows: tensor.n_rows(),
        labels: None,
        timings: Timings::default(),
    };
    let text = String::from_utf8(encode(&response, form)).unwrap();
    let text = text.replacen(form.response_key(), form.request_key(), 1);
    let (value, _) = text.split_once(",\"model\"").unwrap();
    format!("{value}}}").into_bytes()
}

fn forms(tensor: &Tensor) -> Vec<Form> {
    match tensor.shape().dims() {
        [] => vec![Form::One, Form::Named],
        [1, ..] => Form::ALL.to_vec(),
        _ => vec![Form::Many, Form::Named],
    }
}

/// Declared shapes to read arbitrary arrays by.
const WIRE_SHAPES: &[Option<&[i64]>] =
    &[None, Some(&[]), Some(&[-1]), Some(&[-1, 2]), Some(&[2, -1, 1])];

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_tensor()) {
        let fixed = |&size: &usize| Dim::Fixed(size);
        let dims = tensor.shape().dims();
        let exact = ShapePattern::Dims(dims.iter().map(fixed).collect());
        let open = ShapePattern::Dims(vec![Dim::Variable; dims.len()]);
        for form in forms(&tensor) {
            for pattern in [exact.clone(), open.clone(), ShapePattern::Unknown] {
                if pattern == ShapePattern::Unknown && dims.is_empty() && form == Form::One {
                    continue; // Read as a tensor of one row: nothing tells that it is a scalar.
                }
                let decoded = decode(&body(&tensor, form), &spec(tensor.datatype(), pattern)).unwrap();
                prop_assert_eq!(decoded.form, form);
                prop_assert_eq!(&decoded.inputs[0].tensor, &tensor);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), known: bool) {
        let shape = if known { ShapePattern::from_wire(&[-1, 2]).unwrap() } else { ShapePattern::Unknown };
        drop(decode(&bytes, &spec(DataType::Fp32, shape.clone())));
        drop(decode(&[b"{\"instances\":", &bytes[..]].concat(), &spec(DataType::UInt8, shape)));
    }

    #[test]
    fn arbitrary_arrays_never_panic(
        value in r#"([\[\]{},: 0-9e.\-"]|"x":|null|true|\[1,2\],){0,40}"#,
        key in prop::sample::select(&["features", "instances", "inputs"][..]),
        wire in prop::sample::select(WIRE_SHAPES),
    ) {
        let shape = wire.map_or(ShapePattern::Unknown, |wire| ShapePattern::from_wire(wire).unwrap());
        drop(decode(format!("{{\"{key}\":{value}}}").as_bytes(), &spec(DataType::Int16, shape)));
    }

    #[test]
    fn mutated_bodies_never_panic(
        tensor in any_tensor(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        for form in forms(&tensor) {
            let mut body = body(&tensor, form);
            for (at, byte, kind) in &edits {
                let at = at.index(body.len());
                match kind {
                    0 => body[at] = *byte,
                    1 => body.insert(at, *byte),
                    _ => body.truncate(at.max(1)),
                }
            }
            for pattern in [ShapePattern::Unknown, ShapePattern::from_wire(&[-1, 2]).unwrap()] {
                // What is accepted is what it says it is: `Tensor::new` has checked it.
                drop(decode(&body, &spec(tensor.datatype(), pattern)));
            }
        }
    }
}

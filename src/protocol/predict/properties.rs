//! What holds for every tensor and every body.

use super::*;
use crate::inference::NamedTensor;
use crate::protocol::testing::{any_finite_tensor, of_pattern, response};
use crate::tensor::{DataType, Dim, ShapePattern, Tensor};
use proptest::prelude::*;

/// The body that sends what an answer of this form holds.
fn body(tensor: &Tensor, form: Form) -> Vec<u8> {
    let outputs = vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }];
    let response = response(outputs, tensor.n_rows(), None);
    let text = String::from_utf8(encode(&response, form)).unwrap();
    let text = text.replacen(form.response_key(), form.request_key(), 1);
    let (value, _) = text.split_once(",\"model\"").unwrap();
    format!("{value}}}").into_bytes()
}

fn forms(tensor: &Tensor) -> Vec<Form> {
    match tensor.shape().dims() {
        // It has no rows, so it is answered whole.
        [] => vec![Form::Named],
        [1, ..] => Form::ALL.to_vec(),
        _ => vec![Form::Many, Form::Named],
    }
}

/// Declared shapes to read arbitrary arrays by.
const WIRE_SHAPES: &[Option<&[i64]>] =
    &[None, Some(&[]), Some(&[-1]), Some(&[-1, 2]), Some(&[2, -1, 1])];

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_finite_tensor()) {
        let fixed = |&size: &usize| Dim::Fixed(size);
        let dims = tensor.shape().dims();
        let exact = ShapePattern::Dims(dims.iter().map(fixed).collect());
        let open = ShapePattern::Dims(vec![Dim::Variable; dims.len()]);
        for form in forms(&tensor) {
            for pattern in [exact.clone(), open.clone(), ShapePattern::Unknown] {
                let decoded = decode(&body(&tensor, form), &of_pattern(tensor.datatype(), pattern)).unwrap();
                prop_assert_eq!(decoded.plan, form);
                prop_assert_eq!(&decoded.inputs[0].tensor, &tensor);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), known: bool) {
        let shape = if known { ShapePattern::from_wire(&[-1, 2]).unwrap() } else { ShapePattern::Unknown };
        drop(decode(&bytes, &of_pattern(DataType::Fp32, shape.clone())));
        drop(decode(&[b"{\"instances\":", &bytes[..]].concat(), &of_pattern(DataType::UInt8, shape)));
    }

    #[test]
    fn arbitrary_arrays_never_panic(
        value in r#"([\[\]{},: 0-9e.\-"]|"x":|null|true|\[1,2\],){0,40}"#,
        key in prop::sample::select(&["features", "instances", "inputs"][..]),
        wire in prop::sample::select(WIRE_SHAPES),
    ) {
        let shape = wire.map_or(ShapePattern::Unknown, |wire| ShapePattern::from_wire(wire).unwrap());
        drop(decode(format!("{{\"{key}\":{value}}}").as_bytes(), &of_pattern(DataType::Int16, shape)));
    }

    #[test]
    fn mutated_bodies_never_panic(
        tensor in any_finite_tensor(),
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
                drop(decode(&body, &of_pattern(tensor.datatype(), pattern)));
            }
        }
    }
}

//! What holds for every tensor and every body.

use super::*;
use crate::inference::NamedTensor;
use crate::protocol::testing::{any_tensor_without_nan, any_texts, of_pattern, response};
use crate::tensor::{DataType, Dim, ShapePattern, Tensor};
use proptest::prelude::*;

/// The body that sends what an answer of this form holds.
fn body(tensor: &Tensor, form: Form) -> Vec<u8> {
    let outputs = vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }];
    let response = response(outputs, tensor.n_rows(), None);
    let text = String::from_utf8(encode(&response, form)).unwrap();
    text.replacen(form.response_key(), form.request_key(), 1).into_bytes()
}

fn forms(tensor: &Tensor) -> &'static [Form] {
    if tensor.shape().rank() == 0 { &[Form::Named] } else { &[Form::Many, Form::Named] }
}

fn any_tensor_or_texts() -> impl Strategy<Value = Tensor> {
    prop_oneof![any_tensor_without_nan(), any_texts()]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_tensor_or_texts()) {
        let open = ShapePattern::Dims(vec![Dim::Variable; tensor.shape().rank()]);
        for &form in forms(&tensor) {
            for pattern in [open.clone(), ShapePattern::Unknown] {
                let spec = of_pattern(tensor.datatype(), pattern);
                let decoded = decode(&body(&tensor, form), &spec).unwrap();
                prop_assert_eq!(decoded.plan, form);
                prop_assert_eq!(&decoded.inputs[0].tensor, &tensor);
            }
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        value in r#"([\[\]{},: 0-9e.\-"]|"x":|"b64":|"YQ=="|NaN|-Infinity|null|true|\[1,2\],){0,40}"#,
        key in prop::sample::select(&["signature_name", "instances", "inputs", "b64"][..]),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        known: bool,
    ) {
        let wire = ShapePattern::from_wire(&[-1, 2]).unwrap();
        let shape = if known { wire } else { ShapePattern::Unknown };
        for datatype in [DataType::Fp16, DataType::Int64, DataType::Bytes] {
            let spec = of_pattern(datatype, shape.clone());
            drop(decode(&bytes, &spec));
            drop(decode(format!("{{\"{key}\":{value}}}").as_bytes(), &spec));
        }
    }

    #[test]
    fn mutated_bodies_never_panic(
        tensor in any_tensor_without_nan(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        for &form in forms(&tensor) {
            let mut body = body(&tensor, form);
            for (at, byte, kind) in &edits {
                let at = at.index(body.len());
                match kind {
                    0 => body[at] = *byte,
                    1 => body.insert(at, *byte),
                    _ => body.truncate(at.max(1)),
                }
            }
            drop(decode(&body, &of_pattern(tensor.datatype(), ShapePattern::Unknown)));
        }
    }
}

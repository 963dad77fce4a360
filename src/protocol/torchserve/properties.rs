//! What holds for every tensor and every body.

use super::*;
use crate::inference::NamedTensor;
use crate::protocol::testing::{any_tensor_without_nan, any_texts, of_pattern, response, two};
use crate::tensor::{Buffer, DataType, Dim, ShapePattern, Tensor};
use proptest::prelude::*;

fn answer(tensor: &Tensor, answer: Envelope) -> Vec<u8> {
    let outputs = vec![NamedTensor { name: "x".into(), tensor: tensor.clone() }];
    encode(&response(outputs, tensor.n_rows(), None), answer)
}

/// The bodies that send what answers of every kind hold.
fn bodies(tensor: &Tensor) -> Vec<(Envelope, Vec<u8>)> {
    let named = |answer, key: &str, value: Vec<u8>| {
        (answer, [format!("{{\"{key}\":").as_bytes(), &value, b"}"].concat())
    };
    let whole = named(Envelope::Whole, "inputs", answer(tensor, Envelope::Whole));
    match tensor.shape().dims() {
        [] => vec![whole, (Envelope::Row, answer(tensor, Envelope::Row))],
        [n_rows, ..] => {
            let rows = answer(tensor, Envelope::Rows);
            let mut bodies = vec![
                whole,
                (Envelope::Rows, rows.clone()),
                named(Envelope::Predictions, "instances", rows),
            ];
            if *n_rows == 1 {
                bodies.push((Envelope::Row, answer(tensor, Envelope::Row)));
                bodies.push(named(Envelope::Row, "features", answer(tensor, Envelope::Row)));
            }
            bodies
        }
    }
}

const JSON: Media = Media::Json;

fn form() -> Media {
    Media::Form { boundary: "XX".to_owned() }
}

/// One part, with the tensor in it as it lies in memory.
fn part(tensor: &Tensor) -> Vec<u8> {
    let head = "--XX\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: a/b\r\n\r\n";
    [head.as_bytes(), tensor.buffer().as_bytes(), b"\r\n--XX--\r\n"].concat()
}

fn any_tensor_or_texts() -> impl Strategy<Value = Tensor> {
    prop_oneof![any_tensor_without_nan(), any_texts()]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits(tensor in any_tensor_or_texts()) {
        let pattern = ShapePattern::Dims(vec![Dim::Variable; tensor.shape().rank()]);
        let spec = of_pattern(tensor.datatype(), pattern);
        for (answer, body) in bodies(&tensor) {
            let decoded = decode(body.into(), &JSON, &spec).unwrap();
            prop_assert_eq!(decoded.plan, answer);
            prop_assert_eq!(&decoded.inputs[0].tensor, &tensor);
        }
    }

    #[test]
    fn plain_bytes_are_the_same_bits(tensor in any_tensor_without_nan(), in_form: bool) {
        let dims = tensor.shape().dims();
        prop_assume!(!dims.is_empty());
        let pattern = ShapePattern::Dims(dims.iter().map(|&size| Dim::Fixed(size)).collect());
        let spec = of_pattern(tensor.datatype(), pattern);
        let decoded = if in_form {
            decode(part(&tensor).into(), &form(), &spec)
        } else {
            decode(tensor.buffer().clone(), &Media::Plain, &spec)
        };
        prop_assert_eq!(&decoded.unwrap().inputs[0].tensor, &tensor);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        json in r#"([\[\]{},: 0-9e.\-"]|"data":|"inputs":|"b64":|NaN|null|true|\[1,2\],){0,40}"#,
        lines in r#"(--XX|--|\r\n|\r\n\r\n|Content-Disposition: |form-data; |name="x"|name="b"|;|:|[a-z "=]|\[1,2\]){0,24}"#,
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        content_type in r#"(multipart/form-data|text/plain|application/json|; |boundary=|[ -~]){0,6}"#,
    ) {
        let shape = ShapePattern::from_wire(&[-1, 2]).unwrap();
        let texts = of_pattern(DataType::Bytes, ShapePattern::Unknown);
        for spec in [of_pattern(DataType::Fp16, shape), texts, two()] {
            for body in [json.as_bytes(), lines.as_bytes(), &bytes] {
                for media in [JSON, Media::Plain, Media::Unstated, form()] {
                    drop(decode(body.to_vec().into(), &media, &spec));
                }
            }
        }
        drop(Media::parse(Some(&content_type)));
    }

    #[test]
    fn mutated_forms_never_panic(
        tensor in any_tensor_without_nan(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut body = part(&tensor);
        for (at, byte, kind) in &edits {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = *byte,
                1 => body.insert(at, *byte),
                _ => body.truncate(at.max(1)),
            }
        }
        let spec = of_pattern(tensor.datatype(), ShapePattern::Unknown);
        drop(decode(Buffer::from(body), &form(), &spec));
    }
}

//! A body that is a tensor: the elements of the model's one input as they lie in memory,
//! little-endian and row-major, with nothing around them. How many rows there are follows from the
//! length. The answer is that to `instances`. Of a model that takes texts or images it is one of those, and the answer that
//! to `features`.

use super::Form;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::empty_body;
use crate::protocol::{Decoded, plain};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern};

/// Takes a body for the one input of a model of this specification. Nothing is copied, unless the
/// bytes do not lie where their type may lie.
///
/// # Errors
///
/// `invalid_body` for a model whose input cannot be told from bytes alone, `invalid_input` for a
/// length that is not a number of rows, or bytes that are not of the type.
pub fn decode_raw(body: Buffer, spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    if body.is_empty() {
        return Err(empty_body("the elements of the one input"));
    }
    let Some(input) = spec.sole_input() else {
        return Err(not_raw("the model does not have just one required input"));
    };
    if spec.contract.content.is_some() {
        return Ok(Decoded::new(vec![raw_text(body.as_bytes(), input)?], Form::One));
    }
    let inputs = vec![raw_tensor(body, input, spec)?];
    Ok(Decoded::new(inputs, Form::Many))
}

/// The same for an input that is known by its name.
pub(crate) fn raw_tensor(
    body: Buffer,
    input: &TensorSpec,
    spec: &ModelSpec,
) -> Result<NamedTensor, InferError> {
    let dims = input.shape.dims().unwrap_or_default();
    let [_, row @ ..] = dims else {
        return Err(not_raw("the shape of the model's input has no rows"));
    };
    if row.contains(&Dim::Variable) {
        return Err(not_raw("the model's input has more variable dimensions than the rows"));
    }
    if input.datatype == DataType::Bytes {
        return Err(not_raw("elements of the type BYTES differ in length"));
    }
    let shape = plain::shape(input, dims, body.len())?;
    if spec.contract.inputs_have_rows {
        spec.check_rows(shape.n_rows())?;
    }
    plain::tensor(input, (input.datatype, shape), body)
}

/// A body that is one element of `BYTES`, as it is.
pub(crate) fn raw_text(text: &[u8], input: &TensorSpec) -> Result<NamedTensor, InferError> {
    let shape = match &input.shape {
        ShapePattern::Unknown => Some(Shape::from([1])),
        pattern => pattern.example(1, 1).filter(|shape| shape.elements() == Some(1)),
    };
    let shape = shape.ok_or_else(|| not_raw("the model's input takes more than one text"))?;
    let element = plain::element(text).ok_or_else(|| not_raw("a text has at most 4 GiB"))?;
    plain::tensor(input, (input.datatype, shape), element)
}

fn not_raw(reason: &str) -> InferError {
    let message = format!("the body cannot be plain bytes: {reason}; send JSON");
    InferError::new(ErrorCode::InvalidBody, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{Batching, Contract, TensorSpec};
    use crate::tensor::ShapePattern;

    fn spec(datatype: DataType, shape: &[i64]) -> ModelSpec {
        let shape = ShapePattern::from_wire(shape).unwrap();
        ModelSpec {
            inputs: vec![TensorSpec {
                name: "x".into(),
                datatype,
                shape,
                optional: false,
                declared: true,
            }],
            outputs: vec![],
            batching: Batching::Proved,
            max_rows: 3,
            contract: Contract::default(),
        }
    }

    #[track_caller]
    fn check(spec: &ModelSpec, body: Vec<u8>, expected: Result<&[usize], &str>) {
        let decoded = decode_raw(Buffer::from(body), spec);
        let shape = decoded.map(|decoded| decoded.inputs[0].tensor.shape().dims().to_vec());
        let shape = shape.map_err(|error| error.to_string());
        assert_eq!(shape.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn rows_are_told_from_the_length() {
        let pairs = spec(DataType::Fp32, &[-1, 2]);
        check(&pairs, vec![0; 8], Ok(&[1, 2]));
        check(&pairs, vec![0; 24], Ok(&[3, 2]));
        let text = "input \"x\" came as 12 bytes, expected a multiple of the 8 bytes of a row";
        check(&pairs, vec![0; 12], Err(text));
        let text = "the body is empty, expected the elements of the one input";
        check(&pairs, vec![], Err(text));
        let text = "the request has 4 rows, at most 3 are allowed";
        check(&pairs, vec![0; 32], Err(text));
        let fixed = spec(DataType::UInt8, &[2, 2]);
        check(&fixed, vec![0; 4], Ok(&[2, 2]));
        let text = "input \"x\" came as 6 bytes, expected 4 for shape [2, 2]";
        check(&fixed, vec![0; 6], Err(text));
    }

    #[test]
    fn what_bytes_alone_cannot_tell_is_refused() {
        let refused = |spec: &ModelSpec, body: Vec<u8>| {
            decode_raw(Buffer::from(body), spec).unwrap_err().code
        };
        assert_eq!(refused(&spec(DataType::Fp32, &[-1, -1]), vec![0; 8]), ErrorCode::InvalidBody);
        assert_eq!(refused(&spec(DataType::Bytes, &[-1, 1]), vec![0; 8]), ErrorCode::InvalidBody);
        assert_eq!(refused(&spec(DataType::Int64, &[]), vec![0; 8]), ErrorCode::InvalidBody);
        assert_eq!(refused(&spec(DataType::Bool, &[-1, 2]), vec![1, 2]), ErrorCode::InvalidInput);
    }

    #[test]
    fn bytes_are_taken_as_they_are_or_moved_to_where_they_may_lie() {
        let whole = Buffer::copy_aligned(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let pairs = spec(DataType::Fp32, &[-1, 2]);
        let aligned = decode_raw(whole.slice(0..8), &pairs).unwrap();
        let tensor = &aligned.inputs[0].tensor;
        assert_eq!(tensor.buffer().as_bytes().as_ptr(), whole.as_bytes().as_ptr());
        let moved = decode_raw(whole.slice(1..9), &pairs).unwrap();
        let expected = [f32::from_le_bytes([1, 2, 3, 4]), f32::from_le_bytes([5, 6, 7, 8])];
        assert_eq!(moved.inputs[0].tensor.as_slice::<f32>(), Some(&expected[..]));
    }
}

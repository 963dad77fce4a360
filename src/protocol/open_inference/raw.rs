//! A body that is a tensor, as the extension for binary tensors has it: the bytes of the model's one
//! input and nothing else. The shape follows from the model's: one dimension may be variable, or the
//! rows and one other, and then it is one row. Of an input of `BYTES` the whole body is one element. All
//! outputs come back as plain bytes.

use super::plan::Plan;
use crate::inference::{ErrorCode, InferError, ModelSpec, TensorSpec};
use crate::protocol::{Decoded, plain};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern};

pub(super) fn decode(body: Buffer, spec: &ModelSpec) -> Result<Decoded<Plan>, InferError> {
    let Some(input) = spec.sole_input() else {
        return Err(not_raw("the model does not have just one required input"));
    };
    let (shape, bytes) = if input.datatype == DataType::Bytes {
        let too_long = || not_raw("an element of the type BYTES has less than 4 GiB");
        (one_element(input)?, plain::element(body.as_bytes()).ok_or_else(too_long)?)
    } else {
        (shape(input, body.len())?, body)
    };
    if shape.rank() > 0 && spec.contract.inputs_have_rows {
        spec.check_rows(shape.n_rows())?;
    }
    let inputs = vec![plain::tensor(input, (input.datatype, shape), bytes)?];
    let plan = Plan { binary: true, ..Plan::default() };
    Ok(Decoded::new(inputs, plan))
}

/// The shape that so many bytes have.
fn shape(input: &TensorSpec, bytes: usize) -> Result<Shape, InferError> {
    let Some(dims) = input.shape.dims() else {
        return Err(not_raw("the shape of the model's input is not known"));
    };
    let n_variable = dims.iter().filter(|dim| **dim == Dim::Variable).count();
    match dims {
        [Dim::Variable, row @ ..] if n_variable == 2 => {
            plain::shape(input, &[&[Dim::Fixed(1)], row].concat(), bytes)
        }
        dims if n_variable < 2 => plain::shape(input, dims, bytes),
        _ => Err(not_raw(
            "the model's input has more variable dimensions than the rows and one other",
        )),
    }
}

/// The shape of one element.
fn one_element(input: &TensorSpec) -> Result<Shape, InferError> {
    let rank = match &input.shape {
        ShapePattern::Dims(dims) => dims.len(),
        ShapePattern::Unknown => 1,
    };
    let shape = Shape::new(vec![1; rank]);
    input.check(DataType::Bytes, &shape)?;
    Ok(shape)
}

fn not_raw(reason: &str) -> InferError {
    let message = format!("the body cannot be plain bytes: {reason}; send JSON");
    InferError::new(ErrorCode::InvalidBody, message)
}

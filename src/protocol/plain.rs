//! Tensors that come as they lie in memory: little-endian, row-major, with nothing around them.
//!
//! Nothing is copied, unless the bytes do not lie where elements of their type may lie.

use crate::inference::{InferError, NamedTensor, TensorSpec};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern, Tensor};

/// Bytes of the length before each element of `BYTES`.
const PREFIX: usize = 4;

/// The tensor that `bytes` are. Datatype and shape are such as the input takes.
///
/// # Errors
///
/// `invalid_input` for another length than the shape asks for, and bytes that are not of the type.
pub(super) fn tensor(
    input: &TensorSpec,
    (datatype, shape): (DataType, Shape),
    bytes: Buffer,
) -> Result<NamedTensor, InferError> {
    let invalid = |what: String| {
        InferError::invalid_input(&*input.name, format!("input {:?} {what}", input.name))
    };
    match datatype {
        DataType::Bool => {
            if let Some((at, byte)) =
                bytes.as_bytes().iter().enumerate().find(|(_, byte)| **byte > 1)
            {
                let what = format!("has the byte {byte} at {at}, expected 0 or 1");
                return Err(invalid(what).with_mismatch("0 or 1", byte));
            }
        }
        DataType::Bytes => check_elements(bytes.as_bytes(), &shape).map_err(invalid)?,
        _ => {}
    }
    let size = datatype.byte_size().unwrap_or(1);
    let is_aligned = bytes.as_bytes().as_ptr().addr().is_multiple_of(size);
    let bytes = if is_aligned { bytes } else { Buffer::copy_aligned(bytes.as_bytes()) };
    let tensor = Tensor::new(datatype, shape, bytes).map_err(|error| {
        InferError::invalid_input(&*input.name, format!("input {:?}: {error}", input.name))
    })?;
    Ok(NamedTensor { name: input.name.clone(), tensor })
}

/// The shape that so many bytes have. At most one of `dims` is variable: the bytes tell its size.
///
/// # Errors
///
/// `invalid_input` for a number of bytes that is none of such a shape.
pub(super) fn shape(input: &TensorSpec, dims: &[Dim], bytes: usize) -> Result<Shape, InferError> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = *dim { size } else { 1 };
    let pattern = || ShapePattern::Dims(dims.to_vec());
    let mismatch = |expected: String| {
        let message = format!("input {:?} came as {bytes} bytes, expected {expected}", input.name);
        let error = InferError::invalid_input(&*input.name, message);
        Err(error.with_mismatch(expected, format_args!("{bytes} bytes")))
    };
    let element = input.datatype.byte_size().unwrap_or(1);
    let unit = dims.iter().map(size).try_fold(element, usize::checked_mul);
    let Some(unit) = unit.filter(|unit| *unit > 0) else {
        return mismatch(format!("shape {}, which no bytes have", pattern()));
    };
    let times = bytes / unit;
    let is_whole = times > 0 && bytes.is_multiple_of(unit);
    match dims.iter().position(|dim| *dim == Dim::Variable) {
        None if bytes != unit => mismatch(format!("{unit} for shape {}", pattern())),
        Some(0) if !is_whole => mismatch(format!("a multiple of the {unit} bytes of a row")),
        Some(_) if !is_whole => mismatch(format!("a multiple of {unit} for shape {}", pattern())),
        _ => {
            let size = |dim: &Dim| if let Dim::Fixed(size) = *dim { size } else { times };
            Ok(Shape::new(dims.iter().map(size).collect()))
        }
    }
}

/// The one element of `BYTES` that these bytes are.
pub(super) fn element(bytes: &[u8]) -> Option<Buffer> {
    let len = u32::try_from(bytes.len()).ok()?;
    Some([&len.to_le_bytes()[..], bytes].concat().into())
}

/// Checks that the bytes are as many elements of `BYTES` as the shape has.
fn check_elements(bytes: &[u8], shape: &Shape) -> Result<(), String> {
    let expected = shape.elements().unwrap_or(usize::MAX);
    let mut rest = bytes;
    // Each turn takes four bytes at least, so it is not the shape that bounds them.
    for element in 0..expected {
        let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX>() else {
            let left = rest.len();
            return Err(if left == 0 {
                format!("has {element} elements, expected {expected} for shape {shape}")
            } else {
                format!("has {left} bytes left for the length of element {element}, expected 4")
            });
        };
        let len = u32::from_le_bytes(*prefix) as usize;
        rest = behind.get(len..).ok_or_else(|| {
            let left = behind.len();
            format!("has {left} bytes left for element {element}, expected {len}")
        })?;
    }
    match rest.len() {
        0 => Ok(()),
        left => Err(format!("has {left} bytes after its {expected} elements, expected none")),
    }
}

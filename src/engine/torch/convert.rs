//! Our tensors as libtorch's values, and back. Nothing is copied on the CPU unless it must be.

use super::fault;
use super::form::Numbers;
use crate::engine::{Argument, ArgumentKind, Device, EngineError, Fault, Output};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use std::sync::Arc;
use tch::Kind;
use torch_shim::{TensorBytes, Value};

pub(super) fn device(device: Device) -> torch_shim::Device {
    match device {
        Device::Cpu => torch_shim::Device::Cpu,
        Device::Cuda(index) => torch_shim::Device::Cuda(index),
    }
}

/// `None` where libtorch, or the version range that is supported, has no such type.
pub(super) fn kind(datatype: DataType) -> Option<Kind> {
    Some(match datatype {
        DataType::Bool => Kind::Bool,
        DataType::UInt8 => Kind::Uint8,
        DataType::Int8 => Kind::Int8,
        DataType::Int16 => Kind::Int16,
        DataType::Int32 => Kind::Int,
        DataType::Int64 => Kind::Int64,
        DataType::Fp16 => Kind::Half,
        DataType::Bf16 => Kind::BFloat16,
        DataType::Fp32 => Kind::Float,
        DataType::Fp64 => Kind::Double,
        DataType::UInt16 | DataType::UInt32 | DataType::UInt64 | DataType::Bytes => return None,
    })
}

pub(super) fn datatype(kind: Kind) -> Option<DataType> {
    DataType::ALL.iter().copied().find(|&datatype| self::kind(datatype) == Some(kind))
}

/// The value that an argument of the model is given.
pub(super) fn argument(
    argument: &Argument,
    tensor: &Tensor,
    device: Device,
) -> Result<Value, EngineError> {
    match argument.kind {
        ArgumentKind::Tensor => to_torch(tensor, device).map(Value::Tensor),
        ArgumentKind::Texts => texts(tensor).map(Value::List).map_err(|problem| {
            let message = format!("argument {:?} takes texts, {problem}", argument.name);
            EngineError::new(Fault::Internal, message)
        }),
        ArgumentKind::Scalar(datatype) => scalar(tensor, datatype).ok_or_else(|| {
            let message = format!(
                "argument {:?} takes one {datatype}, got {} {}",
                argument.name,
                tensor.datatype(),
                tensor.shape()
            );
            EngineError::new(Fault::Internal, message)
        }),
    }
}

fn scalar(tensor: &Tensor, datatype: DataType) -> Option<Value> {
    match datatype {
        DataType::Int64 => tensor.as_slice::<i64>()?.first().copied().map(Value::Int),
        DataType::Fp64 => tensor.as_slice::<f64>()?.first().copied().map(Value::Float),
        DataType::Bool => tensor.buffer().as_bytes().first().map(|&byte| Value::Bool(byte != 0)),
        // One element: its length in four bytes, then its text.
        DataType::Bytes => {
            let text = tensor.buffer().as_bytes().get(4..)?;
            Some(Value::Str(std::str::from_utf8(text).ok()?.to_owned()))
        }
        _ => None,
    }
}

/// The elements of a `BYTES` tensor: each its length in four bytes, then its text.
fn texts(tensor: &Tensor) -> Result<Vec<Value>, String> {
    let mut rest = tensor.buffer().as_bytes();
    let mut texts = Vec::with_capacity(tensor.n_rows());
    while let Some((length, after)) = rest.split_first_chunk() {
        let cut = after.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (text, after) = cut.ok_or("but their lengths do not add up")?;
        let text = std::str::from_utf8(text)
            .map_err(|_| format!("but element {} is not UTF-8", texts.len()))?;
        texts.push(Value::Str(text.to_owned()));
        rest = after;
    }
    Ok(texts)
}

/// Texts as a `BYTES` tensor of one dimension.
fn from_texts(texts: &[&str]) -> Result<Tensor, EngineError> {
    let fault = |message: String| EngineError::new(Fault::Internal, message);
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
    for text in texts {
        let length = u32::try_from(text.len())
            .map_err(|_| fault(format!("a text of {} bytes is too long", text.len())))?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    let shape = Shape::from([texts.len()]);
    Tensor::new(DataType::Bytes, shape, Buffer::from(bytes)).map_err(|it| fault(it.to_string()))
}

/// The texts of a list that holds nothing else, and at least one.
fn all_texts(values: &[Value]) -> Option<Vec<&str>> {
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let Value::Str(text) = value else { return None };
        texts.push(text.as_str());
    }
    (!texts.is_empty()).then_some(texts)
}

fn to_torch(tensor: &Tensor, device: Device) -> Result<tch::Tensor, EngineError> {
    let datatype = tensor.datatype();
    let kind = kind(datatype).ok_or_else(|| {
        let message = format!("libtorch takes no tensors of datatype {datatype}");
        EngineError::new(Fault::Unsupported, message)
    })?;
    let shape: Vec<i64> =
        tensor.shape().dims().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
    let buffer = tensor.buffer();
    // A slice of somebody's bytes may start anywhere; compute libraries read whole elements.
    let aligned =
        buffer.as_bytes().as_ptr().addr().is_multiple_of(datatype.byte_size().unwrap_or(1));
    let buffer = if aligned { buffer.clone() } else { Buffer::copy_aligned(buffer.as_bytes()) };
    let tensor = torch_shim::tensor_from_owner(buffer, &shape, kind).map_err(fault)?;
    match device {
        Device::Cpu => Ok(tensor),
        // Waits for the copy: the source may be dropped as soon as this returns.
        Device::Cuda(_) => {
            torch_shim::to_device(&tensor, self::device(device), false).map_err(fault)
        }
    }
}

/// The outputs of a run: one tensor or list of texts, or a tuple, list or dictionary of those and of
/// numbers.
pub(super) fn outputs(
    value: Value,
    field_names: &[Arc<str>],
    numbers: &Numbers,
) -> Result<Vec<Output>, EngineError> {
    let named = match value {
        Value::Tuple(values) if values.len() == field_names.len() => {
            values.into_iter().zip(field_names).map(|(it, name)| (Some(name.clone()), it)).collect()
        }
        Value::List(values) if all_texts(&values).is_some() => vec![(None, Value::List(values))],
        Value::Tuple(values) | Value::List(values) => {
            values.into_iter().map(|value| (None, value)).collect()
        }
        Value::Dict(entries) => entries.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?,
        value => vec![(None, value)],
    };
    let output = |(place, (name, value))| output(name, numbers.cast_output(place, value)?);
    named.into_iter().enumerate().map(output).collect()
}

/// An entry of a dictionary: its key is the output's name.
fn entry((key, value): (Value, Value)) -> Result<(Option<Arc<str>>, Value), EngineError> {
    match key {
        Value::Str(name) => Ok((Some(name.into()), value)),
        Value::Int(number) => Ok((Some(number.to_string().into()), value)),
        other => Err(unsupported(&format!("a dictionary whose keys are {}", word(&other)))),
    }
}

fn output(name: Option<Arc<str>>, value: Value) -> Result<Output, EngineError> {
    let scalar = |tensor: Result<Tensor, _>| {
        tensor.map_err(|error: crate::tensor::TensorError| {
            EngineError::new(Fault::Internal, error.to_string())
        })
    };
    let tensor = match value {
        Value::Tensor(tensor) => from_torch(tensor)?,
        Value::Int(number) => scalar(Tensor::from_vec(Shape::default(), vec![number]))?,
        Value::Float(number) => scalar(Tensor::from_vec(Shape::default(), vec![number]))?,
        Value::Bool(flag) => {
            let buffer = Buffer::from(vec![u8::from(flag)]);
            scalar(Tensor::new(DataType::Bool, Shape::default(), buffer))?
        }
        Value::List(values) => match all_texts(&values) {
            Some(texts) => from_texts(&texts)?,
            None => return Err(unsupported("a list inside another value")),
        },
        other => return Err(unsupported(word(&other))),
    };
    Ok(Output { name, tensor })
}

fn from_torch(tensor: tch::Tensor) -> Result<Tensor, EngineError> {
    let kind = torch_shim::tensor_kind(&tensor).map_err(fault)?;
    let datatype =
        datatype(kind).ok_or_else(|| unsupported(&format!("a tensor of type {kind:?}")))?;
    let dims = torch_shim::tensor_shape(&tensor).map_err(fault)?;
    let dims = dims.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0)).collect();
    let bytes = TensorBytes::new(tensor).map_err(fault)?;
    Tensor::new(datatype, Shape::new(dims), Buffer::from_owner(bytes))
        .map_err(|error| EngineError::new(Fault::Internal, error.to_string()))
}

fn unsupported(what: &str) -> EngineError {
    EngineError::new(
        Fault::Unsupported,
        format!("the model returned {what}, which cannot be served"),
    )
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Tensor(_) => "a tensor",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Bool(_) => "a truth value",
        Value::Str(_) => "a text",
        Value::None => "None",
        Value::List(_) => "a list inside another value",
        Value::Tuple(_) => "a tuple inside another value",
        Value::Dict(_) => "a dictionary inside another value",
    }
}

//! Our tensors as libtorch's values, and back. Nothing is copied on the CPU unless it must be.

use super::fault;
use super::form::Numbers;
use crate::engine::{Argument, ArgumentKind, Device, EngineError, Fault, MAX_RUN_BYTES, Output};
use crate::tensor::{Buffer, DataType, Shape, Tensor};
use std::sync::Arc;
use tch::Kind;
use torch_shim::{IValue, TensorBytes, Type};

pub(super) fn device(device: Device) -> torch_shim::TorchDevice {
    match device {
        Device::Cpu => torch_shim::TorchDevice::Cpu,
        Device::Cuda(index) => torch_shim::TorchDevice::Cuda(index),
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
) -> Result<IValue, EngineError> {
    match argument.kind {
        ArgumentKind::Tensor => to_torch(tensor, device).map(IValue::Tensor),
        ArgumentKind::Texts => texts(tensor).map(IValue::List).map_err(|problem| {
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

fn scalar(tensor: &Tensor, datatype: DataType) -> Option<IValue> {
    match datatype {
        DataType::Int64 => tensor.as_slice::<i64>()?.first().copied().map(IValue::Int),
        DataType::Fp64 => tensor.as_slice::<f64>()?.first().copied().map(IValue::Float),
        DataType::Bool => tensor.buffer().as_bytes().first().map(|&byte| IValue::Bool(byte != 0)),
        // One element: its length in four bytes, then its text.
        DataType::Bytes => {
            let text = tensor.buffer().as_bytes().get(4..)?;
            Some(IValue::Str(std::str::from_utf8(text).ok()?.as_bytes().to_owned()))
        }
        _ => None,
    }
}

/// The elements of a `BYTES` tensor: each its length in four bytes, then its text.
fn texts(tensor: &Tensor) -> Result<Vec<IValue>, String> {
    let mut rest = tensor.buffer().as_bytes();
    let mut texts = Vec::with_capacity(tensor.n_rows());
    while let Some((length, after)) = rest.split_first_chunk() {
        let cut = after.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (text, after) = cut.ok_or("but their lengths do not add up")?;
        let text = std::str::from_utf8(text)
            .map_err(|_| format!("but element {} is not UTF-8", texts.len()))?;
        texts.push(IValue::Str(text.as_bytes().to_owned()));
        rest = after;
    }
    Ok(texts)
}

/// Texts as a `BYTES` tensor of one dimension.
fn from_texts(texts: &[&[u8]]) -> Result<Tensor, EngineError> {
    let fault = |message: String| EngineError::new(Fault::Internal, message);
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
    for text in texts {
        let length = u32::try_from(text.len())
            .map_err(|_| fault(format!("a text of {} bytes is too long", text.len())))?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text);
    }
    let shape = Shape::from([texts.len()]);
    Tensor::new(DataType::Bytes, shape, Buffer::from(bytes)).map_err(|it| fault(it.to_string()))
}

/// The texts of a list: of one that is declared to hold texts, or that holds some and nothing else.
fn all_texts<'v>(values: &'v [IValue], ty: &Type) -> Option<Vec<&'v [u8]>> {
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let IValue::Str(text) = value else { return None };
        texts.push(text.as_slice());
    }
    let is_declared = matches!(ty, Type::List(inner) if **inner == Type::Str);
    (is_declared || !texts.is_empty()).then_some(texts)
}

pub(super) fn to_torch(tensor: &Tensor, device: Device) -> Result<tch::Tensor, EngineError> {
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

/// Values that a run may return. Each is looked for by its name, in what is known of the model.
const MAX_OUTPUTS: usize = 1024;

/// A value that becomes an output, with the name that the model has for it.
type Named<'t> = (Option<Arc<str>>, IValue, &'t Type);

/// The type of what no type is declared for.
const UNKNOWN: &Type = &Type::Other(String::new());

/// The outputs of a run of a method that returns this type: one tensor or list of texts, or a tuple, list or
/// dictionary of those and of numbers. What is None is left out; wherever that may happen, the others
/// have names, so that they are known without it.
pub(super) fn outputs(
    value: IValue,
    ty: &Type,
    numbers: &Numbers,
) -> Result<Vec<Output>, EngineError> {
    let (ty, within) = match ty {
        Type::Optional(_) if matches!(value, IValue::None) => return Ok(Vec::new()),
        Type::Optional(inner) => (&**inner, Some("output")),
        ty => (ty, None),
    };
    let named: Vec<Named<'_>> = match value {
        IValue::Tuple(values) => members(values, ty, within),
        IValue::List(values) if all_texts(&values, ty).is_some() => {
            vec![(within.map(Arc::from), IValue::List(values), ty)]
        }
        IValue::List(values) => {
            let inner = if let Type::List(inner) = ty { inner } else { UNKNOWN };
            // Where one may be missing, the others have their places in their names.
            let named = |place| {
                matches!(inner, Type::Optional(_)).then(|| format!("output_{place}").into())
            };
            values.into_iter().enumerate().map(|(at, value)| (named(at), value, inner)).collect()
        }
        IValue::Dict(entries) => {
            let inner = if let Type::Dict(_, inner) = ty { inner } else { UNKNOWN };
            let entry = |(key, value)| Ok((Some(self::key(key)?), value, inner));
            entries.into_iter().map(entry).collect::<Result<_, EngineError>>()?
        }
        value => vec![(within.map(Arc::from), value, ty)],
    };
    let mut flat = Vec::with_capacity(named.len());
    named.into_iter().for_each(|named| flatten(named, &mut flat));
    if flat.len() > MAX_OUTPUTS {
        let message =
            format!("the model returns {} values, at most {MAX_OUTPUTS} are answered", flat.len());
        return Err(EngineError::new(Fault::Unsupported, message));
    }
    let mut n_bytes = 0usize;
    for (_, value, _) in &flat {
        if let IValue::Tensor(tensor) = value {
            n_bytes = n_bytes.saturating_add(laid_out_bytes(tensor)?);
        }
    }
    if n_bytes > MAX_RUN_BYTES {
        let message = format!(
            "the outputs take {n_bytes} bytes, at most {MAX_RUN_BYTES} are taken from a run"
        );
        return Err(EngineError::new(Fault::OutOfMemory, message));
    }
    let output = |(place, (name, value, ty))| output(name, numbers.cast_output(place, value)?, ty);
    flat.into_iter().enumerate().map(output).collect()
}

/// The bytes of a tensor with an element of its own at each place, which it may not have: an expanded one has one for many.
fn laid_out_bytes(tensor: &tch::Tensor) -> Result<usize, EngineError> {
    let kind = torch_shim::tensor_kind(tensor).map_err(fault)?;
    let size = datatype(kind).and_then(DataType::byte_size).unwrap_or(1);
    let dims = torch_shim::tensor_shape(tensor).map_err(fault)?;
    let dims = dims.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0));
    Ok(dims.fold(size, usize::saturating_mul))
}

/// The members of a tuple, which itself may be named. They have names where the type has, and by their
/// places where one of them may be missing or is a tuple itself.
fn members<'t>(values: Vec<IValue>, ty: &'t Type, within: Option<&str>) -> Vec<Named<'t>> {
    let types: Vec<&Type> = match ty {
        Type::Tuple(types) => types.iter().collect(),
        Type::NamedTuple(fields) => fields.iter().map(|(_, ty)| ty).collect(),
        _ => Vec::new(),
    };
    let is_plain =
        |ty: &&Type| !matches!(ty, Type::Optional(_) | Type::Tuple(_) | Type::NamedTuple(_));
    let are_plain = within.is_none() && types.iter().all(is_plain);
    let name = |place: usize| -> Option<Arc<str>> {
        let own = match ty {
            Type::NamedTuple(fields) => fields.get(place).map(|(name, _)| name.clone()),
            _ => None,
        };
        match (within, own) {
            (None, Some(own)) => Some(own.into()),
            (None, None) if are_plain => None,
            (within, own) => {
                let own = own.unwrap_or_else(|| place.to_string());
                Some(format!("{}_{own}", within.unwrap_or("output")).into())
            }
        }
    };
    let member =
        |(place, value)| (name(place), value, types.get(place).copied().unwrap_or(UNKNOWN));
    values.into_iter().enumerate().map(member).collect()
}

/// Takes tuples apart that have a name, and leaves out what is None by its type.
fn flatten<'t>((name, value, ty): Named<'t>, flat: &mut Vec<Named<'t>>) {
    let (ty, may_miss) = match ty {
        Type::Optional(inner) => (&**inner, true),
        ty => (ty, false),
    };
    match (value, name) {
        (IValue::None, _) if may_miss => {}
        (IValue::Tuple(values), Some(name)) => {
            let members = members(values, ty, Some(&name));
            members.into_iter().for_each(|member| flatten(member, flat));
        }
        (value, name) => flat.push((name, value, ty)),
    }
}

/// The key of a dictionary's entry, which is the output's name.
fn key(key: IValue) -> Result<Arc<str>, EngineError> {
    match key {
        IValue::Str(name) => Ok(String::from_utf8_lossy(&name).into()),
        IValue::Int(number) => Ok(number.to_string().into()),
        other => Err(unsupported(&format!("a dictionary whose keys are {}", word(&other)))),
    }
}

fn output(name: Option<Arc<str>>, value: IValue, ty: &Type) -> Result<Output, EngineError> {
    let scalar = |tensor: Result<Tensor, _>| {
        tensor.map_err(|error: crate::tensor::TensorError| {
            EngineError::new(Fault::Internal, error.to_string())
        })
    };
    let tensor = match value {
        IValue::Tensor(tensor) => from_torch(tensor)?,
        IValue::Int(number) => scalar(Tensor::from_vec(Shape::default(), vec![number]))?,
        IValue::Float(number) => scalar(Tensor::from_vec(Shape::default(), vec![number]))?,
        IValue::Bool(flag) => {
            let buffer = Buffer::from(vec![u8::from(flag)]);
            scalar(Tensor::new(DataType::Bool, Shape::default(), buffer))?
        }
        IValue::List(values) => match all_texts(&values, ty) {
            Some(texts) => from_texts(&texts)?,
            None => return Err(unsupported("a list inside another value")),
        },
        other => return Err(unsupported(word(&other))),
    };
    Ok(Output { name, tensor })
}

pub(super) fn from_torch(tensor: tch::Tensor) -> Result<Tensor, EngineError> {
    let kind = torch_shim::tensor_kind(&tensor).map_err(fault)?;
    let datatype =
        datatype(kind).ok_or_else(|| unsupported(&format!("a tensor of type {kind:?}")))?;
    let dims = torch_shim::tensor_shape(&tensor).map_err(fault)?;
    let dims = dims.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0)).collect();
    // A tensor may have a shape that no memory holds, as an expanded one or one of no elements: that is the model's doing.
    let returned = |error: EngineError| match error.fault {
        Fault::Internal => EngineError { fault: Fault::Raised, ..error },
        _ => error,
    };
    let bytes = TensorBytes::new(tensor).map_err(|error| returned(fault(error)))?;
    Tensor::new(datatype, Shape::new(dims), Buffer::from_owner(bytes))
        .map_err(|error| EngineError::new(Fault::Raised, error.to_string()))
}

fn unsupported(what: &str) -> EngineError {
    EngineError::new(
        Fault::Unsupported,
        format!("the model returned {what}, which cannot be served"),
    )
}

fn word(value: &IValue) -> &'static str {
    match value {
        IValue::Tensor(_) => "a tensor",
        IValue::Int(_) => "an integer",
        IValue::Float(_) => "a number",
        IValue::Bool(_) => "a truth value",
        IValue::Str(_) => "a text",
        IValue::None => "None",
        IValue::List(_) => "a list inside another value",
        IValue::Tuple(_) => "a tuple inside another value",
        IValue::Dict(_) => "a dictionary inside another value",
    }
}

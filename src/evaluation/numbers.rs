//! Tensors as plain numbers.

use crate::tensor::{DataType, Element, Tensor};
use half::{bf16, f16};

/// The elements; `None` for texts.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.datatype() {
        DataType::Bool => {
            Some(tensor.buffer().as_bytes().iter().map(|byte| f64::from(*byte)).collect())
        }
        DataType::UInt8 => of(tensor, |it: u8| f64::from(it)),
        DataType::UInt16 => of(tensor, |it: u16| f64::from(it)),
        DataType::UInt32 => of(tensor, |it: u32| f64::from(it)),
        DataType::UInt64 => of(tensor, |it: u64| it as f64),
        DataType::Int8 => of(tensor, |it: i8| f64::from(it)),
        DataType::Int16 => of(tensor, |it: i16| f64::from(it)),
        DataType::Int32 => of(tensor, |it: i32| f64::from(it)),
        DataType::Int64 => of(tensor, |it: i64| it as f64),
        DataType::Fp16 => of(tensor, f16::to_f64),
        DataType::Bf16 => of(tensor, bf16::to_f64),
        DataType::Fp32 => of(tensor, |it: f32| f64::from(it)),
        DataType::Fp64 => of(tensor, |it: f64| it),
        DataType::Bytes => None,
    }
}

fn of<T: Element>(tensor: &Tensor, to_f64: impl Fn(T) -> f64) -> Option<Vec<f64>> {
    Some(tensor.as_slice::<T>()?.iter().map(|value| to_f64(*value)).collect())
}

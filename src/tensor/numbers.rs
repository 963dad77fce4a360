//! Elements of any datatype as plain numbers.

use super::{DataType, Element, Tensor};
use half::{bf16, f16};

impl Tensor {
    /// The elements, those of whole numbers beyond 2^53 rounded; `None` for texts.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match self.datatype() {
            DataType::Bool => {
                Some(self.buffer().as_bytes().iter().map(|byte| f64::from(*byte)).collect())
            }
            DataType::UInt8 => self.each(|it: u8| f64::from(it)),
            DataType::UInt16 => self.each(|it: u16| f64::from(it)),
            DataType::UInt32 => self.each(|it: u32| f64::from(it)),
            DataType::UInt64 => self.each(|it: u64| it as f64),
            DataType::Int8 => self.each(|it: i8| f64::from(it)),
            DataType::Int16 => self.each(|it: i16| f64::from(it)),
            DataType::Int32 => self.each(|it: i32| f64::from(it)),
            DataType::Int64 => self.each(|it: i64| it as f64),
            DataType::Fp16 => self.each(f16::to_f64),
            DataType::Bf16 => self.each(bf16::to_f64),
            DataType::Fp32 => self.each(|it: f32| f64::from(it)),
            DataType::Fp64 => self.each(|it: f64| it),
            DataType::Bytes => None,
        }
    }

    /// The elements of a floating-point tensor, the wider ones rounded; `None` for another.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        Some(match self.datatype() {
            DataType::Fp32 => self.as_slice::<f32>()?.to_vec(),
            DataType::Fp64 => self.as_slice::<f64>()?.iter().map(|it| *it as f32).collect(),
            DataType::Fp16 => self.as_slice::<f16>()?.iter().map(|it| it.to_f32()).collect(),
            DataType::Bf16 => self.as_slice::<bf16>()?.iter().map(|it| it.to_f32()).collect(),
            _ => return None,
        })
    }

    fn each<T: Element>(&self, to_f64: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        Some(self.as_slice::<T>()?.iter().map(|value| to_f64(*value)).collect())
    }
}

//! The datatypes of the Open Inference Protocol and the Rust types that hold their elements.

use half::{bf16, f16};
use std::fmt;
use std::str::FromStr;

macro_rules! datatypes {
    ($($variant:ident = $name:literal, $size:expr;)*) => {
        /// An element type, named on the wire as the Open Inference Protocol names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DataType { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        impl DataType {
            /// Every datatype, in the order of the protocol's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The protocol's word for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Bytes of one element; `None` for `BYTES`, whose elements differ in length.
            #[must_use]
            pub fn byte_size(self) -> Option<usize> {
                match self { $(Self::$variant => $size,)* }
            }
        }
    };
}

datatypes! {
    Bool = "BOOL", Some(1);
    UInt8 = "UINT8", Some(1);
    UInt16 = "UINT16", Some(2);
    UInt32 = "UINT32", Some(4);
    UInt64 = "UINT64", Some(8);
    Int8 = "INT8", Some(1);
    Int16 = "INT16", Some(2);
    Int32 = "INT32", Some(4);
    Int64 = "INT64", Some(8);
    Fp16 = "FP16", Some(2);
    Bf16 = "BF16", Some(2);
    Fp32 = "FP32", Some(4);
    Fp64 = "FP64", Some(8);
    Bytes = "BYTES", None;
}

impl DataType {
    /// Whether elements are floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16 | Self::Fp32 | Self::Fp64)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|datatype| datatype.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|datatype| datatype.name()).collect();
            format!("unknown datatype {text:?}, expected one of {}", known.join(", "))
        })
    }
}

/// A Rust type whose values lie in a tensor's buffer as they are. `BOOL` has none: its bytes come from
/// outside, and a Rust `bool` of any pattern but 0 and 1 would be undefined.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The datatype of a tensor of such elements.
    const DATATYPE: DataType;
}

macro_rules! elements {
    ($($rust:ty = $variant:ident),*) => {
        $(impl Element for $rust { const DATATYPE: DataType = DataType::$variant; })*
    };
}

elements! {
    u8 = UInt8, u16 = UInt16, u32 = UInt32, u64 = UInt64,
    i8 = Int8, i16 = Int16, i32 = Int32, i64 = Int64,
    f16 = Fp16, bf16 = Bf16, f32 = Fp32, f64 = Fp64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for datatype in DataType::ALL {
            assert_eq!(datatype.name().parse(), Ok(*datatype));
        }
        let error = "FLOAT".parse::<DataType>().unwrap_err();
        assert!(error.starts_with("unknown datatype \"FLOAT\", expected one of BOOL, UINT8"));
    }
}

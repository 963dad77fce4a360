//! Schemas of tensors as nested arrays, from what a model declares.

use crate::inference::TensorSpec;
use crate::tensor::{DataType, Dim};
use half::{bf16, f16};
use serde_json::{Value, json};

/// Which way a tensor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Numbers fit their type, and no dimension is empty.
    In,
    /// NaN and the infinities are `null`; what has no elements is `[]`.
    Out,
}

/// One row of a tensor, without the dimension that counts rows.
pub(super) fn row(spec: &TensorSpec, way: Way) -> Value {
    if way == Way::In && !spec.declared {
        return undeclared(spec);
    }
    let Some(dims) = spec.shape.dims() else { return json!({}) };
    nested(element(spec.datatype, way), dims.get(1..).unwrap_or_default(), way)
}

/// A whole tensor of at most so many rows.
pub(super) fn whole(spec: &TensorSpec, way: Way, max_rows: usize) -> Value {
    if way == Way::In && !spec.declared {
        return undeclared(spec);
    }
    let Some(dims) = spec.shape.dims() else { return json!({}) };
    let mut schema = nested(element(spec.datatype, way), dims, way);
    if way == Way::In && dims.first() == Some(&Dim::Variable) {
        schema["maxItems"] = json!(max_rows);
    }
    schema
}

/// An input that nobody declared: what is known of it binds no request.
fn undeclared(spec: &TensorSpec) -> Value {
    json!({"description": evidence(spec)})
}

/// What is known of an input that nobody declared.
pub(super) fn evidence(spec: &TensorSpec) -> String {
    match spec.shape.dims() {
        Some(_) => format!("Not declared; known to work: {} {}.", spec.datatype, spec.shape),
        None => "Not declared, and nothing is known to work.".to_owned(),
    }
}

/// Rows of a tensor, in the list that counts them.
pub(super) fn rows(row: Value, way: Way, max_rows: usize) -> Value {
    match way {
        Way::In => json!({"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}),
        Way::Out => json!({"type": "array", "items": row}),
    }
}

fn nested(element: Value, dims: &[Dim], way: Way) -> Value {
    dims.iter().rev().fold(element, |items, dim| {
        let mut schema = json!({"type": "array", "items": items});
        match (dim, way) {
            (Dim::Fixed(size), Way::In) => {
                schema["minItems"] = json!(size);
                schema["maxItems"] = json!(size);
            }
            (Dim::Fixed(size), Way::Out) => schema["maxItems"] = json!(size),
            (Dim::Variable, Way::In) => schema["minItems"] = json!(1),
            (Dim::Variable, Way::Out) => {}
        }
        schema
    })
}

fn element(datatype: DataType, way: Way) -> Value {
    let integer = |minimum: Value, maximum: Value| json!({"type": "integer", "minimum": minimum, "maximum": maximum});
    match datatype {
        DataType::Bool => json!({"type": "boolean"}),
        DataType::UInt8 => integer(json!(0), json!(u8::MAX)),
        DataType::UInt16 => integer(json!(0), json!(u16::MAX)),
        DataType::UInt32 => integer(json!(0), json!(u32::MAX)),
        DataType::UInt64 => integer(json!(0), json!(u64::MAX)),
        DataType::Int8 => integer(json!(i8::MIN), json!(i8::MAX)),
        DataType::Int16 => integer(json!(i16::MIN), json!(i16::MAX)),
        DataType::Int32 => integer(json!(i32::MIN), json!(i32::MAX)),
        DataType::Int64 => integer(json!(i64::MIN), json!(i64::MAX)),
        DataType::Fp16 => number(f16::MAX.to_f64(), way),
        DataType::Bf16 => number(bf16::MAX.to_f64(), way),
        DataType::Fp32 => number(f64::from(f32::MAX), way),
        DataType::Fp64 => number(f64::MAX, way),
        DataType::Bytes => json!({"type": "string"}),
    }
}

fn number(maximum: f64, way: Way) -> Value {
    match way {
        Way::In => json!({"type": "number", "minimum": -maximum, "maximum": maximum}),
        Way::Out => json!({"type": "number", "nullable": true}),
    }
}

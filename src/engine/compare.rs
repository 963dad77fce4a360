//! Whether two answers are the same, but for rounding.

use super::Output;
use crate::tensor::{DataType, Tensor};
use half::{bf16, f16};

/// How many times more a row may differ whose answer is that of a batch of nothing but itself: large numbers that
/// cancel each other out leave rounding that is large beside what is left.
const ROUNDING: f64 = 10.0;
/// How far it may differ at minimum where the code says that a row's answer hangs on that row alone.
const ROUNDING_OF_PROVED: f64 = 1e-2;

/// How far a row's answer may be from that alone where it is that of a batch of nothing but itself.
pub(crate) fn rounding(tolerance: f64, is_proved: bool) -> f64 {
    let minimum = if is_proved { ROUNDING_OF_PROVED } else { 0.0 };
    (tolerance * ROUNDING).max(minimum)
}

/// The largest finite magnitude of each output over all references: what rounding is measured by. A
/// single row will not do, since its value may be near zero by cancellation.
pub(crate) fn scales<'a>(references: impl IntoIterator<Item = &'a [Output]>) -> Vec<f64> {
    let mut scales = Vec::new();
    for outputs in references {
        scales.resize(outputs.len().max(scales.len()), 0.0);
        for (scale, output) in scales.iter_mut().zip(outputs) {
            let magnitudes = numbers(&output.tensor).unwrap_or_default().into_iter().map(f64::abs);
            *scale = magnitudes.filter(|it| it.is_finite()).fold(*scale, f64::max);
        }
    }
    scales
}

/// The same for one row among others: its own largest magnitude, but no less than that of half of the rows. A row that
/// is far larger than the others must not hide what happens to them.
pub(crate) fn row_scales(own: &[Output], rows: &[Vec<Output>]) -> Vec<f64> {
    let mut scales = scales([own]);
    for (place, scale) in scales.iter_mut().enumerate() {
        let largest = |row: &Vec<Output>| {
            self::scales([row.as_slice()]).get(place).copied().unwrap_or_default()
        };
        let mut all: Vec<f64> = rows.iter().map(largest).collect();
        all.sort_by(f64::total_cmp);
        *scale = scale.max(all.get(all.len() / 2).copied().unwrap_or_default());
    }
    scales
}

/// Whether all outputs agree: `|a - b| <= tolerance x scale` for floating-point numbers, exactly for others.
pub(crate) fn agree(a: &[Output], b: &[Output], scales: &[f64], tolerance: f64) -> bool {
    let mut pairs = a.iter().zip(b).zip(scales);
    let mut names = a.iter().zip(b).map(|(a, b)| a.name == b.name);
    a.len() == b.len()
        && names.all(|same| same)
        && pairs.all(|((a, b), &scale)| same(&a.tensor, &b.tensor, scale, tolerance))
}

fn same(a: &Tensor, b: &Tensor, scale: f64, tolerance: f64) -> bool {
    if a.datatype() != b.datatype() || a.shape() != b.shape() {
        return false;
    }
    let (Some(left), Some(right)) = (numbers(a), numbers(b)) else { return a == b };
    let limit = tolerance.max(precision(a.datatype())) * scale;
    // The same infinity has no difference to measure, and NaN stands for NaN.
    let close = |(a, b): (f64, f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= limit;
    left.into_iter().zip(right).all(close)
}

/// The largest difference between two answers, relative to the scale of its output; or in what they are of different
/// kinds. NaN and infinities must stand in the same places, and whole numbers be the same.
pub(crate) fn difference(a: &[Output], b: &[Output], scales: &[f64]) -> Result<f64, String> {
    if a.len() != b.len() {
        return Err(format!("it gives {} outputs, not {}", b.len(), a.len()));
    }
    let mut worst = 0.0f64;
    for (place, ((a, b), &scale)) in a.iter().zip(b).zip(scales).enumerate() {
        let (left, right) = (&a.tensor, &b.tensor);
        if a.name != b.name || left.datatype() != right.datatype() || left.shape() != right.shape()
        {
            let [left, right] = [left, right].map(|it| format!("{} {}", it.datatype(), it.shape()));
            return Err(format!("output {place} is {right}, not {left}"));
        }
        let (Some(left), Some(right)) = (numbers(left), numbers(right)) else {
            if left == right {
                continue;
            }
            return Err(format!("output {place} of {} has other values", left.datatype()));
        };
        for (a, b) in left.into_iter().zip(right) {
            let same = a == b || (a.is_nan() && b.is_nan());
            let difference = if same { 0.0 } else { (a - b).abs() / scale };
            // Where one is no number or infinite, so is the difference.
            worst = if difference.is_finite() { worst.max(difference) } else { f64::INFINITY };
        }
    }
    Ok(worst)
}

/// How many rows of the first output have another best class in `b`, and of how many; `None` when it does not
/// hold scores of classes. A single score means the second class from `threshold` on.
pub(crate) fn changed_classes(
    a: &[Output],
    b: &[Output],
    threshold: f64,
) -> Option<(usize, usize)> {
    let (a, b) = (classes(a.first()?, threshold)?, classes(b.first()?, threshold)?);
    let changed = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    Some((changed, a.len()))
}

fn classes(output: &Output, threshold: f64) -> Option<Vec<usize>> {
    let width = match *output.tensor.shape().dims() {
        [_] => 1,
        [_, width] if width > 0 => width,
        _ => return None,
    };
    let best = |row: &[f64]| match *row {
        [score] => usize::from(score >= threshold),
        _ => (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j]).then(j.cmp(&i))).unwrap_or(0),
    };
    Some(numbers(&output.tensor)?.chunks(width).map(best).collect())
}

/// What a few roundings of this type make of a number, relative to it.
fn precision(datatype: DataType) -> f64 {
    match datatype {
        DataType::Bf16 => 3e-2,
        DataType::Fp16 => 5e-3,
        _ => 0.0,
    }
}

/// The values of a floating-point tensor.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.datatype() {
        DataType::Fp16 => Some(tensor.as_slice::<f16>()?.iter().map(|it| it.to_f64()).collect()),
        DataType::Bf16 => Some(tensor.as_slice::<bf16>()?.iter().map(|it| it.to_f64()).collect()),
        DataType::Fp32 => Some(tensor.as_slice::<f32>()?.iter().map(|&it| f64::from(it)).collect()),
        DataType::Fp64 => Some(tensor.as_slice::<f64>()?.to_vec()),
        _ => None,
    }
}

/// Whether an output holds something that is not a number.
pub(crate) fn has_nan(outputs: &[Output]) -> bool {
    let values = |output: &Output| numbers(&output.tensor).unwrap_or_default();
    outputs.iter().any(|output| values(output).iter().any(|value| value.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn output(values: &[f32]) -> Vec<Output> {
        let tensor = Tensor::from_vec(Shape::from([values.len()]), values.to_vec()).unwrap();
        vec![Output { name: None, tensor }]
    }

    #[track_caller]
    fn check(a: &[f32], b: &[f32], expected: bool) {
        let (a, b) = (output(a), output(b));
        assert_eq!(agree(&a, &b, &scales([&a[..]]), 1e-5), expected);
    }

    #[test]
    fn answers_agree_up_to_rounding() {
        check(&[1.0, 1e-9], &[1.000_005, -1e-9], true);
        check(&[1.0], &[1.000_02], false);
        check(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY], true);
        check(&[f32::NAN], &[0.0], false);
        check(&[0.0], &[f32::NAN], false);
        check(&[f32::INFINITY], &[f32::NEG_INFINITY], false);
        check(&[0.0], &[0.0], true);
        check(&[1.0], &[1.0, 1.0], false);
    }
}

//! Sizes that dimensions of inputs have in common, and from where to where they go.

use super::error::InferError;
use super::spec::TensorSpec;
use crate::tensor::Tensor;
use std::fmt;

/// A size that a model's file has a symbol for: where it stands, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeRule {
    /// Where it stands: the place of an input and its dimension.
    pub places: Vec<(usize, usize)>,
    /// The smallest.
    pub min: usize,
    /// The largest; `None` where there is none.
    pub max: Option<usize>,
}

impl SizeRule {
    /// Whether a size lies between the two.
    #[must_use]
    pub fn accepts(&self, size: usize) -> bool {
        size >= self.min && self.max.is_none_or(|max| size <= max)
    }

    /// Checks inputs, each of which has the dimensions that its specification says.
    ///
    /// # Errors
    ///
    /// `invalid_input`, naming the input, its dimension, what was expected and what came.
    pub fn check(&self, specs: &[TensorSpec], inputs: &[Option<Tensor>]) -> Result<(), InferError> {
        let mut first: Option<(&str, usize)> = None;
        for &(place, axis) in &self.places {
            let dims = inputs.get(place).and_then(Option::as_ref).map(|it| it.shape().dims());
            let Some((spec, &size)) = specs.get(place).zip(dims.and_then(|it| it.get(axis))) else {
                continue;
            };
            let own = &*spec.name;
            let begins = format!("input {own:?} has size {size} in dimension {axis}");
            if !self.accepts(size) {
                let error = InferError::invalid_input(own, format!("{begins}, expected {self}"));
                return Err(error.with_mismatch(self, size));
            }
            let &mut (name, expected) = first.get_or_insert((own, size));
            if size != expected {
                let message = format!("{begins}, but {name:?} has {expected}");
                return Err(InferError::invalid_input(own, message).with_mismatch(expected, size));
            }
        }
        Ok(())
    }
}

impl fmt::Display for SizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            Some(max) if max == self.min => write!(f, "{max}"),
            Some(max) => write!(f, "{} to {max}", self.min),
            None => write!(f, "at least {}", self.min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Shape, ShapePattern};

    #[track_caller]
    fn check(rule: &SizeRule, shapes: [&[usize]; 2], expected: Result<(), &str>) {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::from_wire(&[-1, -1]).unwrap(),
            optional: false,
            declared: true,
        };
        let tensor = |dims: &[usize]| {
            let values = vec![0f32; dims.iter().product()];
            Some(Tensor::from_vec(Shape::new(dims.to_vec()), values).unwrap())
        };
        let outcome = rule.check(&[spec("x"), spec("y")], &shapes.map(tensor));
        assert_eq!(outcome.map_err(|it| it.message.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn sizes_are_within_and_the_same() {
        let rule = SizeRule { places: vec![(0, 1), (1, 0)], min: 2, max: Some(4) };
        check(&rule, [&[1, 2], &[2, 9]], Ok(()));
        check(&rule, [&[1, 4], &[4, 9]], Ok(()));
        let small = "input \"x\" has size 1 in dimension 1, expected 2 to 4";
        check(&rule, [&[1, 1], &[1, 9]], Err(small));
        let large = "input \"y\" has size 5 in dimension 0, expected 2 to 4";
        check(&rule, [&[1, 4], &[5, 9]], Err(large));
        let other = "input \"y\" has size 3 in dimension 0, but \"x\" has 4";
        check(&rule, [&[1, 4], &[3, 9]], Err(other));
        let open = SizeRule { max: None, ..rule };
        check(&open, [&[1, 1000], &[1000, 9]], Ok(()));
        let small = "input \"x\" has size 1 in dimension 1, expected at least 2";
        check(&open, [&[1, 1], &[1, 9]], Err(small));
    }
}

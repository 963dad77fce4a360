//! Shapes of tensors, and the patterns that a model declares for them.

use std::fmt;

/// The dimensions of a tensor, outermost first. Empty for a scalar.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape of these dimensions.
    #[must_use]
    pub fn new(dims: Vec<usize>) -> Self {
        Self(dims)
    }

    /// The dimensions.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// How many dimensions there are.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// How many elements there are; `None` when any part of the product overflows, so that a zero
    /// cannot hide a dimension that no library accepts.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        let mut nonzero = 1usize;
        for &dim in &self.0 {
            nonzero = nonzero.checked_mul(dim.max(1))?;
        }
        // libtorch counts in i64, and 16 bytes are the widest element it has.
        if nonzero > (i64::MAX as usize) / 16 {
            return None;
        }
        Some(if self.0.contains(&0) { 0 } else { nonzero })
    }

    /// The first dimension; 1 for a scalar.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.0.first().copied().unwrap_or(1)
    }

    /// The dimensions of one row.
    #[must_use]
    pub fn row(&self) -> &[usize] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The same shape with another first dimension. A scalar stays one.
    #[must_use]
    pub fn with_rows(&self, n_rows: usize) -> Self {
        self.with_dim(0, n_rows)
    }

    /// The same shape with another size of one dimension; as it is where there is no such dimension.
    #[must_use]
    pub fn with_dim(&self, axis: usize, size: usize) -> Self {
        let mut dims = self.0.clone();
        if let Some(dim) = dims.get_mut(axis) {
            *dim = size;
        }
        Self(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0.iter())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One dimension of a declared shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Any size from one up; written -1.
    Variable,
    /// Exactly this size.
    Fixed(usize),
}

impl Dim {
    /// Whether a dimension of `size` fits.
    #[must_use]
    pub fn accepts(self, size: usize) -> bool {
        match self {
            Self::Variable => size > 0,
            Self::Fixed(fixed) => size == fixed,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => f.write_str("-1"),
            Self::Fixed(size) => write!(f, "{size}"),
        }
    }
}

/// The shape that a model declares for a tensor; the first dimension counts rows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ShapePattern {
    /// Nothing is known: the model was never probed with a tensor that it accepts.
    Unknown,
    /// This rank, each dimension fixed or variable.
    Dims(Vec<Dim>),
}

impl ShapePattern {
    /// Reads the wire's form, where -1 means variable.
    ///
    /// # Errors
    ///
    /// The text says which number is no dimension.
    pub fn from_wire(dims: &[i64]) -> Result<Self, String> {
        let parse = |&dim: &i64| match dim {
            -1 => Ok(Dim::Variable),
            _ => usize::try_from(dim)
                .map(Dim::Fixed)
                .map_err(|_| format!("dimension {dim} is neither -1 nor a size")),
        };
        dims.iter().map(parse).collect::<Result<_, _>>().map(Self::Dims)
    }

    /// The wire's form; `None` when unknown.
    #[must_use]
    pub fn to_wire(&self) -> Option<Vec<i64>> {
        let wire = |dim: &Dim| match *dim {
            Dim::Variable => -1,
            Dim::Fixed(size) => i64::try_from(size).unwrap_or(i64::MAX),
        };
        self.dims().map(|dims| dims.iter().map(wire).collect())
    }

    /// The dimensions, when known.
    #[must_use]
    pub fn dims(&self) -> Option<&[Dim]> {
        match self {
            Self::Unknown => None,
            Self::Dims(dims) => Some(dims),
        }
    }

    /// Whether a tensor of this shape may be given to the model.
    #[must_use]
    pub fn accepts(&self, shape: &Shape) -> bool {
        self.dims().is_none_or(|dims| {
            dims.len() == shape.rank()
                && dims.iter().zip(shape.dims()).all(|(dim, &size)| dim.accepts(size))
        })
    }

    /// A concrete shape of `n_rows` rows in which each variable dimension has size `variable`.
    #[must_use]
    pub fn example(&self, n_rows: usize, variable: usize) -> Option<Shape> {
        let size = |(axis, dim): (usize, &Dim)| match (axis, dim) {
            (_, Dim::Fixed(size)) => *size,
            (0, Dim::Variable) => n_rows,
            (_, Dim::Variable) => variable,
        };
        self.dims().map(|dims| Shape::new(dims.iter().enumerate().map(size).collect()))
    }
}

impl fmt::Display for ShapePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Dims(dims) => write_list(f, dims.iter()),
        }
    }
}

impl fmt::Debug for ShapePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    f.write_str("[")?;
    for (position, item) in items.enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_accepts_only_its_rank_and_sizes() {
        let pattern = ShapePattern::from_wire(&[-1, 3, -1]).unwrap();
        assert!(pattern.accepts(&Shape::from([2, 3, 9])));
        assert!(!pattern.accepts(&Shape::from([2, 4, 9])));
        assert!(!pattern.accepts(&Shape::from([2, 3])));
        assert!(!pattern.accepts(&Shape::from([0, 3, 9])), "a tensor without rows is no request");
        assert_eq!(pattern.to_string(), "[-1, 3, -1]");
        assert_eq!(pattern.example(4, 7), Some(Shape::from([4, 3, 7])));
        assert!(ShapePattern::from_wire(&[-2]).is_err());
    }
}

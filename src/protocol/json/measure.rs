//! The shape of a value that was refused, so that the refusal can name it.
//!
//! A second walk over the value, made only for the words of an error.

use super::MAX_DEPTH;
use super::reader::{Reader, SyntaxError};
use crate::tensor::Shape;

/// What nested arrays turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// Arrays of equal lengths.
    Shape(Shape),
    /// Arrays that differ, and the indices of the first that does.
    Ragged { index: Vec<usize>, expected: String, got: String },
}

/// Measures the value that comes next.
pub(super) fn measure(mut reader: Reader<'_>) -> Result<Measured, SyntaxError> {
    let mut walk = Walk { sizes: Vec::new(), leaf_depth: None, index: Vec::new(), ragged: None };
    walk.value(&mut reader)?;
    Ok(match walk.ragged {
        Some(ragged) => ragged,
        None => Measured::Shape(Shape::new(walk.sizes.into_iter().flatten().collect())),
    })
}

struct Walk {
    /// Lengths of the first complete array at each depth.
    sizes: Vec<Option<usize>>,
    /// The depth at which values lie that are no arrays.
    leaf_depth: Option<usize>,
    index: Vec<usize>,
    ragged: Option<Measured>,
}

impl Walk {
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), SyntaxError> {
        let depth = self.index.len();
        if reader.peek() == Some(b'[') {
            if self.leaf_depth.is_some_and(|leaf| leaf <= depth) {
                self.differ("a number", "an array");
            }
            return self.list(reader);
        }
        let kind = reader.kind()?;
        if *self.leaf_depth.get_or_insert(depth) > depth || self.sizes.len() > depth {
            self.differ("an array", kind);
        }
        reader.skip(depth)
    }

    fn list(&mut self, reader: &mut Reader<'_>) -> Result<(), SyntaxError> {
        let depth = self.index.len();
        if depth == MAX_DEPTH {
            return Err(reader.too_deep());
        }
        if self.sizes.len() == depth {
            self.sizes.push(None);
        }
        reader.take(b'[');
        let mut len = 0;
        let mut goes_on = !reader.take(b']');
        while goes_on {
            self.index.push(len);
            self.value(reader)?;
            self.index.pop();
            len += 1;
            goes_on = reader.goes_on(b']')?;
        }
        match self.sizes[depth] {
            Some(size) if size != len => self.differ(format!("{size} elements"), len),
            _ => self.sizes[depth] = Some(len),
        }
        Ok(())
    }

    /// Notes the first difference.
    fn differ(&mut self, expected: impl ToString, got: impl ToString) {
        if self.ragged.is_none() {
            self.ragged = Some(Measured::Ragged {
                index: self.index.clone(),
                expected: expected.to_string(),
                got: got.to_string(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[usize], (&[usize], &str, &str)>) {
        let expected = match expected {
            Ok(dims) => Measured::Shape(Shape::new(dims.to_vec())),
            Err((index, expected, got)) => Measured::Ragged {
                index: index.to_vec(),
                expected: expected.to_owned(),
                got: got.to_owned(),
            },
        };
        assert_eq!(measure(Reader::new(text.as_bytes())), Ok(expected), "{text}");
    }

    #[test]
    fn shapes_and_the_first_difference_are_found() {
        check("7", Ok(&[]));
        check("[]", Ok(&[0]));
        check("[[],[]]", Ok(&[2, 0]));
        check("[[[1],[2]]]", Ok(&[1, 2, 1]));
        check("[[1,2],[3]]", Err((&[1], "2 elements", "1")));
        check("[[1,2],3]", Err((&[1], "an array", "a number")));
        check("[1,[2]]", Err((&[1], "a number", "an array")));
        check("[[[1]],[2]]", Err((&[1, 0], "an array", "a number")));
        assert!(measure(Reader::new("[".repeat(100_000).as_bytes())).is_err());
    }
}

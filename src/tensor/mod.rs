//! Tensors as the service sees them: a datatype, a shape and a buffer of bytes.
//!
//! No I/O, no wire format and no libtorch here. The one thing to know: a [`Tensor`] is always
//! consistent (its buffer holds exactly the elements that its shape promises), because
//! [`Tensor::new`] is the only way to make one.

mod buffer;
mod datatype;
mod growing;
mod numbers;
mod pad;
mod shape;

pub use buffer::{Buffer, BufferMut, Memory};
pub use datatype::{DataType, Element};
pub use growing::BufferVec;
pub use pad::PadTo;
pub use shape::{Dim, Shape, ShapePattern};

use thiserror::Error;

/// Why bytes and a shape do not make a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The element count, or the byte count, does not fit a machine word.
    #[error("shape {shape} has more elements than can be addressed")]
    Overflow {
        /// The shape that overflows.
        shape: Shape,
    },
    /// The buffer is shorter or longer than the shape asks for.
    #[error("shape {shape} of {datatype} takes {expected} bytes, got {got}")]
    Length {
        /// The shape as given.
        shape: Shape,
        /// The datatype as given.
        datatype: DataType,
        /// Bytes that shape and datatype ask for.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
}

/// An immutable, cheaply cloned, row-major tensor in host memory.
///
/// `BYTES` tensors hold, per element, a little-endian `u32` length and then that many bytes, as
/// the Open Inference Protocol writes them; their buffer's length is not implied by the shape.
#[derive(Debug, Clone)]
pub struct Tensor {
    datatype: DataType,
    shape: Shape,
    buffer: Buffer,
}

impl Tensor {
    /// Checks that `buffer` holds what `shape` promises.
    ///
    /// # Errors
    ///
    /// [`TensorError`] when the shape overflows or the length differs.
    pub fn new(datatype: DataType, shape: Shape, buffer: Buffer) -> Result<Self, TensorError> {
        let overflow = || TensorError::Overflow { shape: shape.clone() };
        let elements = shape.elements().ok_or_else(overflow)?;
        if let Some(size) = datatype.byte_size() {
            let expected = elements.checked_mul(size).ok_or_else(overflow)?;
            if buffer.len() != expected {
                let got = buffer.len();
                return Err(TensorError::Length { shape, datatype, expected, got });
            }
        }
        Ok(Self { datatype, shape, buffer })
    }

    /// A tensor that takes over a vector of elements.
    ///
    /// # Errors
    ///
    /// [`TensorError`] when `values` is not as long as `shape` says.
    pub fn from_vec<T: Element>(shape: Shape, values: Vec<T>) -> Result<Self, TensorError> {
        Self::new(T::DATATYPE, shape, Buffer::from_vec(values))
    }

    /// The element type.
    #[must_use]
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The bytes, row-major and little-endian.
    #[must_use]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Rows along the first dimension; 1 for a scalar.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.shape.n_rows()
    }

    /// The elements, when `T` is this tensor's datatype.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (T::DATATYPE == self.datatype).then(|| self.buffer.as_slice::<T>())?
    }

    /// Rows `start..start + n_rows` without copying; `None` when out of range, for scalars and for
    /// `BYTES`, whose rows have no fixed size.
    #[must_use]
    pub fn rows(&self, start: usize, n_rows: usize) -> Option<Self> {
        let size = self.datatype.byte_size()?;
        let (&total, inner) = self.shape.dims().split_first()?;
        if start.checked_add(n_rows)? > total {
            return None;
        }
        let row_bytes = inner.iter().product::<usize>() * size;
        let buffer = self.buffer.slice(start * row_bytes..(start + n_rows) * row_bytes);
        let shape = self.shape.with_rows(n_rows);
        Some(Self { datatype: self.datatype, shape, buffer })
    }

    /// The elements of a `BYTES` tensor; `None` for another, and for bytes that are not as many elements as the shape says.
    #[must_use]
    pub fn byte_elements(&self) -> Option<Vec<&[u8]>> {
        let n_elements = self.shape.elements().filter(|_| self.datatype == DataType::Bytes)?;
        let mut rest = self.buffer.as_bytes();
        // Each element takes four bytes at least, so it is not the shape that bounds them.
        let mut elements = Vec::with_capacity(n_elements.min(rest.len() / 4));
        for _ in 0..n_elements {
            let (length, behind) = rest.split_first_chunk()?;
            let (element, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            elements.push(element);
            rest = behind;
        }
        rest.is_empty().then_some(elements)
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    ///
    /// [`TensorError`] when the element counts differ.
    pub fn reshape(self, shape: Shape) -> Result<Self, TensorError> {
        Self::new(self.datatype, shape, self.buffer)
    }
}

impl PartialEq for Tensor {
    /// Bit-identical: same datatype, shape and bytes (so NaN equals the same NaN).
    fn eq(&self, other: &Self) -> bool {
        self.datatype == other.datatype
            && self.shape == other.shape
            && self.buffer.as_bytes() == other.buffer.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_refuses_a_buffer_of_another_length() {
        let error = Tensor::from_vec(Shape::from([2, 3]), vec![0f32; 5]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2, 3] of FP32 takes 24 bytes, got 20");
    }

    #[test]
    fn a_shape_that_overflows_is_refused_even_beside_a_zero() {
        let huge = Shape::from([0, 1 << 62, 8]);
        assert!(matches!(
            Tensor::from_vec(huge, Vec::<f32>::new()),
            Err(TensorError::Overflow { .. })
        ));
    }

    #[test]
    fn rows_share_the_buffer() {
        let tensor = Tensor::from_vec(Shape::from([3, 2]), vec![0i64, 1, 2, 3, 4, 5]).unwrap();
        let rows = tensor.rows(1, 2).unwrap();
        assert_eq!(rows.as_slice::<i64>().unwrap(), [2, 3, 4, 5]);
        assert_eq!(rows.shape(), &Shape::from([2, 2]));
        assert!(tensor.rows(2, 2).is_none(), "a range past the end must not be cut silently");
        assert!(tensor.as_slice::<f64>().is_none(), "a view as another datatype must not exist");
    }
}

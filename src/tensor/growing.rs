//! Elements that arrive one by one, in memory that is aligned from the start.

use super::buffer::{ALIGNMENT, Buffer};
use super::datatype::Element;
use aligned_vec::{AVec, ConstAlign};
use std::fmt;

/// A vector of elements in aligned memory: what a decoder fills when it does not know how many
/// elements will come. Freezing it copies nothing.
pub struct BufferVec<T>(AVec<T, ConstAlign<ALIGNMENT>>);

impl<T: Element> BufferVec<T> {
    /// An empty vector with room for `capacity` elements.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(AVec::with_capacity(ALIGNMENT, capacity))
    }

    /// Adds an element; the memory doubles when it is full.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.0.push(value);
    }

    /// Adds elements; the memory at least doubles when it is full.
    pub fn extend_from_slice(&mut self, values: &[T]) {
        self.0.extend_from_slice(values);
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the writing.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        struct Frozen<T>(AVec<T, ConstAlign<ALIGNMENT>>);
        impl<T: Element> AsRef<[u8]> for Frozen<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        Buffer::from_owner(Frozen(self.0))
    }
}

impl<T> fmt::Debug for BufferVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferVec({} elements)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_aligned() {
        let mut values = BufferVec::with_capacity(0);
        for value in 0..1000u16 {
            values.push(value);
        }
        let frozen = values.freeze();
        assert_eq!(frozen.as_bytes().as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(frozen.as_slice::<u16>().unwrap()[999], 999);
    }
}

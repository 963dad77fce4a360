//! Bytes with an owner: ref-counted and sliceable when shared, aligned when filled.

use super::datatype::Element;
use aligned_vec::{AVec, ConstAlign};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// A cache line, and the widest vector register: what compute libraries like their rows to start at.
pub(super) const ALIGNMENT: usize = 64;

/// Memory that a [`BufferMut`] can stand on: the heap, or page-locked memory of an engine.
pub trait Memory: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static {}

impl<M: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static> Memory for M {}

/// Shared, immutable bytes. Cloning and slicing copy nothing; the owner is dropped with its last
/// slice, on whichever thread that happens.
#[derive(Clone, Default)]
pub struct Buffer(Bytes);

impl Buffer {
    /// Takes over any owner of bytes: a vector, a tensor of an engine, a mapped region.
    #[must_use]
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self(Bytes::from_owner(owner))
    }

    /// Takes over a vector of elements.
    #[must_use]
    pub fn from_vec<T: Element>(values: Vec<T>) -> Self {
        struct Owner<T>(Vec<T>);
        impl<T: Element> AsRef<[u8]> for Owner<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        Self::from_owner(Owner(values))
    }

    /// Copies bytes to an aligned place.
    #[must_use]
    pub fn copy_aligned(bytes: &[u8]) -> Self {
        let mut copy = BufferMut::zeroed(bytes.len());
        copy.as_mut().copy_from_slice(bytes);
        copy.freeze()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The elements, or `None` when the bytes are not aligned for `T` or leave a remainder.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        bytemuck::try_cast_slice(&self.0).ok()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A part of it; the range must lie inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0.slice(range))
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Buffer {
    /// The length alone: contents are a caller's data and do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// Bytes that one owner fills before they are shared.
pub struct BufferMut {
    memory: Box<dyn Memory>,
}

impl BufferMut {
    /// Zeroed heap memory that starts at a multiple of 64 bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        struct Aligned(AVec<u8, ConstAlign<ALIGNMENT>>);
        impl AsRef<[u8]> for Aligned {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl AsMut<[u8]> for Aligned {
            fn as_mut(&mut self) -> &mut [u8] {
                &mut self.0
            }
        }
        Self::from_memory(Aligned(aligned_vec::avec![[ALIGNMENT]| 0u8; len]))
    }

    /// Memory that an engine allocated.
    #[must_use]
    pub fn from_memory(memory: impl Memory) -> Self {
        Self { memory: Box::new(memory) }
    }

    /// Ends the writing.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        struct Frozen(Box<dyn Memory>);
        impl AsRef<[u8]> for Frozen {
            fn as_ref(&self) -> &[u8] {
                (*self.0).as_ref()
            }
        }
        Buffer::from_owner(Frozen(self.memory))
    }
}

impl AsRef<[u8]> for BufferMut {
    fn as_ref(&self) -> &[u8] {
        (*self.memory).as_ref()
    }
}

impl AsMut<[u8]> for BufferMut {
    fn as_mut(&mut self) -> &mut [u8] {
        (*self.memory).as_mut()
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferMut({} bytes)", self.as_ref().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_buffers_are_aligned() {
        let mut buffer = BufferMut::zeroed(130);
        buffer.as_mut()[129] = 7;
        let frozen = buffer.freeze();
        assert_eq!(frozen.as_bytes().as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(frozen.as_bytes()[129], 7);
        assert!(frozen.slice(1..5).as_slice::<u32>().is_none(), "unaligned views must not exist");
    }

    #[test]
    fn the_owner_goes_with_the_last_slice() {
        use std::sync::Arc;
        struct Owner(#[expect(dead_code, reason = "held to be counted")] Arc<()>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &[1, 2, 3]
            }
        }
        let alive = Arc::new(());
        let buffer = Buffer::from_owner(Owner(Arc::clone(&alive)));
        let slice = buffer.slice(1..2);
        drop(buffer);
        assert_eq!(
            (slice.as_bytes(), Arc::strong_count(&alive)),
            (&[2u8][..], 2),
            "a slice keeps its owner"
        );
        drop(slice);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

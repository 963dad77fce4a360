//! Memory that inputs lie in on their way to a child: written here and read there, so that nothing copies them in between.

use crate::tensor::{Buffer, BufferMut, Tensor};
use sealed_memory::Sealed;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Smaller inputs go over the socket with everything else: that costs less than a second mapping.
const SMALLEST: usize = 16 << 10;
/// What a region has at least, and a multiple of by doubling, so that inputs of other sizes find one that suits.
const SMALLEST_REGION: usize = 64 << 10;
/// Regions, and bytes of regions, that are kept while nothing lies in them.
const MAX_FREE: usize = 8;
const MAX_FREE_BYTES: usize = 64 << 20;

/// Where something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: u64,
    pub(super) offset: usize,
}

/// What the child has to be told before it is asked for a run.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Regions that it does not know.
    pub(super) new: Vec<(u64, OwnedFd)>,
    /// Regions that it need not hold any more.
    pub(super) gone: Vec<u64>,
}

/// The regions of one instance. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Regions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    free: Vec<Region>,
    /// What is in use, by address.
    lent: Vec<(usize, usize, u64)>,
    news: News,
    last_id: u64,
    /// The kernel does not let such memory be made.
    is_unsupported: bool,
}

#[derive(Debug)]
struct Region {
    id: u64,
    sealed: Sealed,
}

impl Regions {
    /// Memory for an input of so many bytes: in a region, where that is worth it.
    pub(super) fn buffer(&self, bytes: usize) -> BufferMut {
        let lent = (bytes >= SMALLEST).then(|| self.lend(bytes)).flatten();
        lent.map_or_else(|| BufferMut::zeroed(bytes), BufferMut::from_memory)
    }

    /// The input, copied to a region where that is worth it and it is in none.
    pub(super) fn placed(&self, input: Tensor) -> Tensor {
        let bytes = input.buffer().as_bytes();
        if bytes.len() < SMALLEST || self.place(input.buffer()).is_some() {
            return input;
        }
        let Some(mut lent) = self.lend(bytes.len()) else { return input };
        lent.as_mut().copy_from_slice(bytes);
        let copy = BufferMut::from_memory(lent).freeze();
        Tensor::new(input.datatype(), input.shape().clone(), copy).unwrap_or(input)
    }

    /// Where a buffer lies, if it lies in a region.
    pub(super) fn place(&self, buffer: &Buffer) -> Option<Place> {
        let (from, length) = (buffer.as_bytes().as_ptr().addr(), buffer.len());
        let state = self.state();
        let holds = |&&(start, bytes, _): &&(usize, usize, u64)| {
            start <= from && from + length <= start + bytes
        };
        let (start, _, region) = *state.lent.iter().find(holds)?;
        Some(Place { region, offset: from - start })
    }

    /// What the child has to be told, once.
    pub(super) fn news(&self) -> News {
        std::mem::take(&mut self.state().news)
    }

    fn lend(&self, bytes: usize) -> Option<Lent> {
        let mut state = self.state();
        let fits = |region: &Region| {
            let size = region.sealed.as_ref().len();
            (bytes..=size_for(bytes) * 2).contains(&size)
        };
        let found = state.free.iter().position(fits).map(|at| state.free.swap_remove(at));
        let region = found.or_else(|| state.make(bytes))?;
        let memory = region.sealed.as_ref();
        let range = (memory.as_ptr().addr(), memory.len(), region.id);
        state.lent.push(range);
        drop(state);
        Some(Lent { region: Some(region), bytes, regions: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the region that is made for so many bytes.
fn size_for(bytes: usize) -> usize {
    bytes.max(SMALLEST_REGION).checked_next_power_of_two().unwrap_or(bytes)
}

impl State {
    fn make(&mut self, bytes: usize) -> Option<Region> {
        if self.is_unsupported {
            return None;
        }
        let made = Sealed::new(size_for(bytes)).and_then(|sealed| {
            let file = sealed.file().try_clone_to_owned()?;
            Ok((sealed, file))
        });
        match made {
            Ok((sealed, file)) => {
                self.last_id += 1;
                self.news.new.push((self.last_id, file));
                Some(Region { id: self.last_id, sealed })
            }
            Err(error) => {
                // For want of memory or descriptors it may do the next time.
                self.is_unsupported = error.kind() == io::ErrorKind::InvalidInput;
                None
            }
        }
    }

    /// Keeps a region for the next input, and lets the largest go where that would be too much.
    fn keep(&mut self, region: Region) {
        self.free.push(region);
        let size = |region: &Region| region.sealed.as_ref().len();
        while self.free.len() > MAX_FREE
            || self.free.iter().map(size).sum::<usize>() > MAX_FREE_BYTES
        {
            let largest = (0..self.free.len()).max_by_key(|&at| size(&self.free[at]));
            let Some(largest) = largest else { return };
            let Region { id, .. } = self.free.swap_remove(largest);
            // One that was never told need not be taken back.
            match self.news.new.iter().position(|(new, _)| *new == id) {
                Some(at) => drop(self.news.new.swap_remove(at)),
                None => self.news.gone.push(id),
            }
        }
    }
}

/// A region with something in it; free again when nobody holds that any more.
#[derive(Debug)]
struct Lent {
    /// There until it is dropped.
    region: Option<Region>,
    bytes: usize,
    regions: Regions,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.region.as_ref().map_or(&[], |region| &region.sealed.as_ref()[..self.bytes])
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes;
        self.region.as_mut().map_or(&mut [], |region| &mut region.sealed.as_mut()[..bytes])
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            let mut state = self.regions.state();
            state.lent.retain(|(_, _, id)| *id != region.id);
            state.keep(region);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn tensor(n_values: usize) -> Tensor {
        Tensor::from_vec(Shape::from([n_values]), vec![1.5f32; n_values]).unwrap()
    }

    #[test]
    fn what_is_large_lies_in_a_region_and_is_copied_once() {
        let regions = Regions::default();
        let small = regions.placed(tensor(10));
        assert_eq!(regions.place(small.buffer()), None);
        let large = regions.placed(tensor(10_000));
        assert_eq!(large, tensor(10_000));
        let place = Some(Place { region: 1, offset: 0 });
        assert_eq!(regions.place(large.buffer()), place);
        assert_eq!(regions.place(regions.placed(large.clone()).buffer()), place, "it is there");
        let part = large.rows(100, 50).unwrap();
        assert_eq!(regions.place(part.buffer()), Some(Place { region: 1, offset: 400 }));
        let other = regions.placed(tensor(10_000));
        assert_eq!(regions.place(other.buffer()), Some(Place { region: 2, offset: 0 }));
        assert_eq!(regions.news().new.len(), 2);
        drop((large, part));
        let third = regions.placed(tensor(12_000));
        assert_eq!(regions.place(third.buffer()), place, "the same region again");
        let news = regions.news();
        assert!(news.new.is_empty() && news.gone.is_empty());
    }

    #[test]
    fn what_is_free_is_bounded() {
        let regions = Regions::default();
        let buffers: Vec<_> = (0..20).map(|_| regions.buffer(1 << 20).freeze()).collect();
        assert_eq!(regions.news().new.len(), 20);
        drop(buffers);
        assert_eq!(regions.state().free.len(), MAX_FREE);
        assert_eq!(regions.news().gone.len(), 20 - MAX_FREE);
        drop(regions.buffer(2 * MAX_FREE_BYTES).freeze());
        let news = regions.news();
        assert!(news.new.is_empty() && news.gone.is_empty(), "it was there between two runs");
        assert_eq!(regions.state().free.len(), MAX_FREE);
        assert!(regions.state().lent.is_empty());
    }
}

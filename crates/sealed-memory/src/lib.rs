//! Memory that one process writes and another can only read: a file without a name (`memfd_create(2)`), mapped by both.
//!
//! Its writer maps it first and then seals it (`F_SEAL_FUTURE_WRITE`): from then on the kernel lets nobody map it for
//! writing, write to it or change its size, so that what the writer sees there is what it wrote, whatever runs in the other
//! process. A crate of its own, because mapping is the one thing here that Rust cannot check.

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

/// Nobody else writes to it, and it keeps its size.
const SEALS: SealFlags =
    SealFlags::FUTURE_WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// A mapping of a whole file.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the memory belongs to the mapping alone, and which thread touches it makes no difference to the kernel.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference gives out shared references to bytes alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Of `length` bytes, at least one.
    fn new(file: BorrowedFd<'_>, length: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: without a wanted address the kernel takes one that nothing else has.
        let start =
            unsafe { mmap(ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this address and length, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr(), self.length) };
    }
}

/// The writer's side: bytes that nobody else can change.
#[derive(Debug)]
pub struct Sealed {
    mapping: Mapping,
    file: OwnedFd,
}

impl Sealed {
    /// So many zeroed bytes, at least one, starting at a page.
    ///
    /// # Errors
    ///
    /// The memory cannot be had, or the kernel (before 5.1) knows no such seal.
    pub fn new(length: usize) -> io::Result<Self> {
        let length = length.max(1);
        let file = memfd_create("sconce", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, u64::try_from(length).map_err(io::Error::other)?)?;
        let mapping = Mapping::new(file.as_fd(), length, ProtFlags::READ | ProtFlags::WRITE)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(Self { mapping, file })
    }

    /// For whoever is to read it.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: it is mapped and its size sealed; nobody else can write to it, and `self` is borrowed meanwhile.
        unsafe { slice::from_raw_parts(self.mapping.start.as_ptr().cast(), self.mapping.length) }
    }
}

impl AsMut<[u8]> for Sealed {
    fn as_mut(&mut self) -> &mut [u8] {
        let start = self.mapping.start.as_ptr().cast();
        // SAFETY: as above; the reader only reads, and in another process.
        unsafe { slice::from_raw_parts_mut(start, self.mapping.length) }
    }
}

/// The reader's side, for as long as the writer leaves the bytes alone: it must not write to what it has said is there until
/// the reader has answered, which both sides' protocol has to see to.
#[derive(Debug)]
pub struct View(Mapping);

impl View {
    /// Of the memory behind a descriptor that came from its writer.
    ///
    /// # Errors
    ///
    /// It is no sealed memory, and might shrink while it is read; or it cannot be mapped.
    pub fn new(file: &File) -> io::Result<Self> {
        if !fcntl_get_seals(file)?.contains(SEALS) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the memory is not sealed"));
        }
        let length = usize::try_from(fstat(file)?.st_size).map_err(io::Error::other)?;
        Mapping::new(file.as_fd(), length, ProtFlags::READ).map(Self)
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: it is mapped and its size sealed, and its writer leaves it alone (see above).
        unsafe { slice::from_raw_parts(self.0.start.as_ptr().cast(), self.0.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file(sealed: &Sealed) -> File {
        File::from(sealed.file().try_clone_to_owned().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let mut sealed = Sealed::new(10_000).unwrap();
        sealed.as_mut()[9_999] = 7;
        let view = View::new(&file(&sealed)).unwrap();
        assert_eq!((view.as_ref().len(), view.as_ref()[9_999]), (10_000, 7));
        sealed.as_mut()[0] = 9;
        assert_eq!(view.as_ref()[0], 9, "it is the same memory");
        drop(sealed);
        assert_eq!(view.as_ref()[9_999], 7, "a view holds it");
        assert_eq!(Sealed::new(0).unwrap().as_ref().len(), 1);
    }

    #[test]
    fn nobody_else_writes_or_cuts_it() {
        let sealed = Sealed::new(4096).unwrap();
        let file = file(&sealed);
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(1).is_err());
        assert!(file.set_len(8192).is_err());
        assert!(Mapping::new(file.as_fd(), 4096, ProtFlags::READ | ProtFlags::WRITE).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err(), "no seal more");
    }

    #[test]
    fn what_is_not_sealed_is_not_read() {
        let plain = memfd_create("plain", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&plain, 4096).unwrap();
        assert!(View::new(&File::from(plain)).is_err());
        assert!(View::new(&File::open("/proc/self/exe").unwrap()).is_err());
    }
}

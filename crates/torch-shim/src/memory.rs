//! The program's allocator, and how much of its memory models may take.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{CStr, c_void};
use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tikv_jemalloc_sys as jemalloc;

use crate::ffi;

/// From this size on, buffers are given back to the system as soon as they are freed.
const LARGE: usize = 256 << 10;

/// The arena of large buffers, plus one; 0 before there is one, and [`NONE`] if there cannot be one.
static ARENA: AtomicU32 = AtomicU32::new(0);
const NONE: u32 = u32::MAX;

/// jemalloc, which is libtorch's allocator too, for the Rust side of a program.
///
/// Large buffers, which hold what clients send and get, have an arena of their own whose memory goes back to the system at once.
/// What libtorch frees stays for some seconds, since a model's next run takes it again; a burst of large requests would
/// stay beside it, and both together are more than the process may have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

// SAFETY: memory comes from jemalloc with the size and the alignment of the layout, and goes back to it with the same;
// whether it is large follows from the layout alone, so that it goes back to where it came from.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_usual(layout) {
            // What jemalloc is fastest at.
            // SAFETY: any size will do.
            return unsafe { jemalloc::malloc(layout.size()) }.cast();
        }
        // SAFETY: the caller's layout has a size.
        unsafe { take(layout, 0) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_usual(layout) {
            // SAFETY: as in `alloc`.
            return unsafe { jemalloc::calloc(1, layout.size()) }.cast();
        }
        // SAFETY: as in `alloc`.
        unsafe { take(layout, jemalloc::MALLOCX_ZERO) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.size() >= LARGE {
            record(layout.size(), Change::Less);
        }
        // SAFETY: the memory is of this layout.
        unsafe { jemalloc::sdallocx(memory.cast::<c_void>(), layout.size(), flags(layout)) };
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let is_large = layout.size() >= LARGE;
        // SAFETY: the caller's new size fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if is_usual(layout) && is_usual(wanted) {
            // SAFETY: the memory came from `malloc`, or from what is the same for such a layout.
            return unsafe { jemalloc::realloc(memory.cast::<c_void>(), size) }.cast();
        }
        if is_large == (size >= LARGE) {
            // SAFETY: the memory is of that layout, and stays where memory of its size lies.
            let moved = unsafe { jemalloc::rallocx(memory.cast::<c_void>(), size, flags(wanted)) };
            if is_large && !moved.is_null() {
                record(size, Change::More);
                record(layout.size(), Change::Less);
            }
            return moved.cast();
        }
        // SAFETY: as in `alloc` and `dealloc`; both places hold the smaller of the two sizes.
        unsafe {
            let fresh = self.alloc(wanted);
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(memory, fresh, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            fresh
        }
    }
}

/// Memory of this layout.
///
/// # Safety
///
/// The layout's size is not zero.
#[inline]
unsafe fn take(layout: Layout, extra: c_int) -> *mut u8 {
    // SAFETY: the caller's promise.
    let memory = unsafe { jemalloc::mallocx(layout.size(), flags(layout) | extra) };
    if layout.size() >= LARGE && !memory.is_null() {
        record(layout.size(), Change::More);
    }
    memory.cast()
}

/// Whether `malloc` does for a layout: it is not large, and `malloc` aligns to as much by itself.
#[inline]
fn is_usual(layout: Layout) -> bool {
    layout.size() < LARGE && is_aligned(layout)
}

#[inline]
fn is_aligned(layout: Layout) -> bool {
    const ALWAYS: usize = 16;
    layout.align() <= ALWAYS && layout.align() <= layout.size()
}

/// How jemalloc is to be asked for this layout, and later to take it back.
#[inline]
fn flags(layout: Layout) -> c_int {
    let align = match is_aligned(layout) {
        true => 0,
        false => jemalloc::MALLOCX_ALIGN(layout.align()),
    };
    match layout.size() < LARGE {
        true => align,
        false => align | arena(),
    }
}

/// The arena of large buffers and no thread's cache, if there is such an arena.
fn arena() -> c_int {
    let known = ARENA.load(Ordering::Acquire);
    let arena = if known == 0 { make_arena() } else { known };
    if arena == NONE {
        return 0;
    }
    jemalloc::MALLOCX_ARENA(arena as usize - 1) | jemalloc::MALLOCX_TCACHE_NONE
}

#[cold]
fn make_arena() -> u32 {
    let mut arena = 0_u32;
    let mut length = size_of::<u32>();
    let place = (&raw mut arena).cast();
    // SAFETY: the name ends with a zero, and the place has the type that jemalloc's manual gives for it.
    let outcome = unsafe {
        let name = c"arenas.create".as_ptr();
        jemalloc::mallctl(name, place, &raw mut length, ptr::null_mut(), 0)
    };
    if outcome == 0 {
        decay_at_once(c"arena.0.dirty_decay_ms", arena);
        decay_at_once(c"arena.0.muzzy_decay_ms", arena);
    }
    let mine = if outcome == 0 { arena + 1 } else { NONE };
    // Two threads may come here at once: the first one's arena counts, the other stays empty.
    match ARENA.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => mine,
        Err(first) => first,
    }
}

/// From now on what is freed goes back to the system in its time also where nobody allocates any more: a thread of
/// jemalloc's sees to it. Where an allocation of libtorch's fails, it goes back at once.
pub fn give_back_unasked() {
    let mut yes = true;
    let place = (&raw mut yes).cast();
    // SAFETY: it may be called at any time.
    unsafe { ffi::sconce_watch_allocations() };
    // SAFETY: the name ends with a zero, and the setting has the type that jemalloc's manual gives for it.
    unsafe {
        let name = c"background_thread".as_ptr();
        jemalloc::mallctl(name, ptr::null_mut(), ptr::null_mut(), place, size_of::<bool>());
    }
}

/// Has what is freed in this arena go on at once; `name` names the setting for arena 0.
fn decay_at_once(name: &CStr, arena: u32) {
    let mut path = [0_usize; 3];
    let mut length = path.len();
    let mut at_once = 0_isize;
    // SAFETY: the name ends with a zero and has three parts, and the setting has the type that jemalloc's manual gives for it.
    unsafe {
        if jemalloc::mallctlnametomib(name.as_ptr(), path.as_mut_ptr(), &raw mut length) == 0 {
            path[1] = arena as usize;
            let (setting, size) = ((&raw mut at_once).cast(), size_of::<isize>());
            let (path, none) = (path.as_ptr(), ptr::null_mut());
            jemalloc::mallctlbymib(path, length, none, ptr::null_mut(), setting, size);
        }
    }
}

/// Bytes of large buffers that are held.
static BUFFERED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
enum Change {
    More,
    Less,
}

fn record(bytes: usize, change: Change) {
    // Only the sum matters, nothing is guarded by it.
    let bytes = bytes as u64;
    match change {
        Change::More => BUFFERED.fetch_add(bytes, Ordering::Relaxed),
        Change::Less => BUFFERED.fetch_sub(bytes, Ordering::Relaxed),
    };
}

/// Asked from the other side when it adds up what the process has taken.
extern "C" fn buffered() -> u64 {
    BUFFERED.load(Ordering::Relaxed)
}

/// What models may take of the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBounds {
    /// What the process may take, in bytes.
    pub process: u64,
    /// What of it is kept for large buffers of the Rust side (see [`Allocator`]), in bytes.
    pub buffers: u64,
    /// Runs at once.
    pub runs: usize,
}

/// Of what models may take, the part that is divided into assured shares, one a run.
const ASSURED: u64 = 8;

/// From now on, what models take on the CPU is bounded: a load or a run that would take the process beyond what it may have
/// fails with [`ErrorClass::OutOfMemory`](crate::ErrorClass) where it asks for a MiB or more at once. A run always has its
/// share, an eighth of all divided by the runs at once. Needs [`Allocator`] as the program's allocator.
pub fn bound_memory(bounds: MemoryBounds) {
    let assured = bounds.process.saturating_sub(bounds.buffers) / ASSURED;
    let share = assured / (bounds.runs.max(1) as u64);
    let aside = bounds.buffers + assured;
    // SAFETY: numbers, and a function that lives for ever.
    unsafe { ffi::sconce_bound_memory(bounds.process, aside, share, buffered) };
}

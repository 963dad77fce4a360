//! Devices, streams and threads of the process. One build serves CPU and GPU: CUDA is asked for while it runs.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use crate::error::{Error, ErrorClass, Stage};
use crate::ffi::{self, RawDevice, RawMemory, Text, call, call_for_pointer};
use crate::value::{IValue, Output};

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TorchDevice {
    /// The host.
    Cpu,
    /// A CUDA device by its index among those that the process sees.
    Cuda(usize),
}

impl TorchDevice {
    pub(crate) fn raw(self) -> RawDevice {
        match self {
            Self::Cpu => RawDevice { index: -1 },
            // An index beyond i32 is refused as one that is not there.
            Self::Cuda(index) => RawDevice { index: i32::try_from(index).unwrap_or(i32::MAX) },
        }
    }
}

impl From<TorchDevice> for tch::Device {
    fn from(device: TorchDevice) -> Self {
        match device {
            TorchDevice::Cpu => Self::Cpu,
            TorchDevice::Cuda(index) => Self::Cuda(index),
        }
    }
}

impl fmt::Display for TorchDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// The memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStats {
    /// In tensors of this process.
    pub allocated: u64,
    /// Held by this process's allocator, in tensors or ready for some.
    pub reserved: u64,
    /// Free on the device, over all processes.
    pub free: u64,
    /// What the device has.
    pub total: u64,
}

/// What libtorch was built as and runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFacts {
    /// The version of libtorch, such as `2.13.0`.
    pub version: String,
    /// The instruction set that its kernels chose on this machine, such as `AVX512`.
    pub cpu_capability: String,
    /// Thread counts and libraries, one fact a line.
    pub parallel: Vec<String>,
}

/// Loads libtorch's CUDA half. Call it before anything else asks torch about devices: the answer is cached. The error
/// is the loader's own reason, usually that the library is not there.
pub fn load_cuda_library() -> Result<(), String> {
    // SAFETY: takes nothing but the place for the error.
    call(Stage::Other, |error| unsafe { ffi::sconce_load_cuda_library(error) })
        .map_err(|error| error.message)
}

/// How many CUDA devices this process sees; 0 on a machine without.
pub fn device_count() -> usize {
    // SAFETY: takes nothing and catches everything.
    usize::try_from(unsafe { ffi::sconce_device_count() }).unwrap_or(0)
}

/// The name of a CUDA device, if there is such a one and the driver tells.
pub fn device_name(index: usize) -> Option<String> {
    let mut output = Output::new();
    // SAFETY: the answer and the error are places of our own.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_device_name(index as u64, output.slot(), error)
    })
    .ok()?;
    match output.into_value() {
        Ok(IValue::Str(name)) => String::from_utf8(name).ok(),
        _ => None,
    }
}

/// The memory of a CUDA device, if there is such a one and it answers.
pub fn memory_stats(index: usize) -> Option<MemoryStats> {
    let mut memory = RawMemory::default();
    // SAFETY: the answer and the error are places of our own.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_device_memory(index as u64, &raw mut memory, error)
    })
    .ok()?;
    let RawMemory { allocated, reserved, free, total } = memory;
    Some(MemoryStats { allocated, reserved, free, total })
}

/// Waits for all that was started on a device. The CPU has nothing to wait for.
pub fn synchronize(device: TorchDevice) -> Result<(), Error> {
    match device {
        TorchDevice::Cpu => Ok(()),
        TorchDevice::Cuda(index) => call(Stage::Run, |error| {
            // SAFETY: takes nothing but the place for the error.
            unsafe { ffi::sconce_device_synchronize(index as u64, error) }
        }),
    }
}

/// How many threads one operator may use when the calling thread runs it. Each calling thread has a pool of its own.
pub fn set_intra_op_threads(count: usize) -> Result<(), Error> {
    let count = thread_count(count)?;
    // SAFETY: takes nothing but the place for the error.
    call(Stage::Other, |error| unsafe { ffi::sconce_set_intra_op_threads(count, error) })
}

/// From now on what a model forks (`torch.jit.fork`) runs at once, on the thread that forks. For the whole process, before
/// the first fork; a second call changes nothing.
pub fn fork_in_place() {
    // SAFETY: it takes nothing, and registers what lives for ever.
    unsafe { ffi::sconce_fork_in_place() };
}

fn thread_count(count: usize) -> Result<i32, Error> {
    i32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
        Error::new(ErrorClass::InvalidArgument, format!("{count} is not a number of threads"))
    })
}

/// How many specialisations of a fused operator libtorch may compile, first for fixed shapes, then for variable ones;
/// what fits none runs unfused. For the whole process, before models are loaded.
pub fn set_fusion_strategy(fixed: usize, dynamic: usize) -> Result<(), Error> {
    // SAFETY: takes nothing but the place for the error.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_set_fusion_strategy(fixed as u64, dynamic as u64, error)
    })
}

/// How many compiled operators oneDNN keeps, of all models together. It reads this when it first computes, so
/// that this must come before, and while the process has one thread: the setting is a variable of its environment,
/// `ONEDNN_PRIMITIVE_CACHE_CAPACITY`. One that is set already stays. Says whether oneDNN will know the number.
pub fn limit_primitive_cache(capacity: usize) -> bool {
    const VARIABLE: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads != 1 {
        return false;
    }
    // SAFETY: no other thread is there that could read the environment meanwhile.
    unsafe { std::env::set_var(VARIABLE, capacity.to_string()) };
    true
}

/// From now on a division of integers that the processor refuses (by zero, or of the smallest number by -1) is an error
/// of the call that it stands in, and no longer the end of the process. For the whole process; a second call changes nothing.
pub fn catch_traps() {
    // SAFETY: it takes nothing, and the handler that it sets leaves all signals but that of a division as they were.
    unsafe { ffi::sconce_catch_traps() };
}

/// Loads a shared object whose operators and classes models may use, for as long as the process lives. Its code runs at
/// once, and no file of a model must ever name one.
pub fn load_library(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref().as_os_str().as_encoded_bytes();
    // SAFETY: the path outlives the call.
    call(Stage::Other, |error| unsafe { ffi::sconce_load_library(Text::new(path), error) })
}

/// The version of libtorch that this was compiled against, which is the one that it runs with.
pub fn libtorch_version() -> Result<String, Error> {
    Ok(build_facts()?.version)
}

/// What libtorch was built as and runs on.
pub fn build_facts() -> Result<BuildFacts, Error> {
    let mut output = Output::new();
    // SAFETY: the answer and the error are places of our own.
    call(Stage::Other, |error| unsafe { ffi::sconce_build_facts(output.slot(), error) })?;
    let mut reader = output.reader();
    reader.enter()?;
    let version = reader.text()?;
    let cpu_capability = reader.text()?;
    let parallel = reader.text()?;
    let parallel = parallel
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(BuildFacts { version, cpu_capability, parallel })
}

/// While it lives, the calling thread works on a stream of its own of a device, so that instances on one device run
/// beside each other. On the CPU it does nothing.
///
/// Weights are copied on the thread that loads them: [`synchronize`] after loading, before another stream reads them.
/// Guards of one thread must be dropped in the reverse order of their making.
pub struct StreamGuard {
    // Null on the CPU.
    pointer: *mut c_void,
    // A stream is set for one thread, so the guard must not leave it.
    _of_this_thread: PhantomData<*mut c_void>,
}

impl fmt::Debug for StreamGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamGuard").field("on_device", &!self.pointer.is_null()).finish()
    }
}

impl StreamGuard {
    /// Takes a stream of the device from torch's pool and makes it and the device current.
    pub fn new(device: TorchDevice) -> Result<Self, Error> {
        // SAFETY: all are places of our own.
        let pointer = call_for_pointer(Stage::Run, |guard, error| unsafe {
            ffi::sconce_stream_enter(device.raw(), guard, error)
        })?;
        Ok(Self { pointer, _of_this_thread: PhantomData })
    }

    /// Waits for what was started on this stream.
    pub fn synchronize(&self) -> Result<(), Error> {
        // SAFETY: the pointer is ours and lives, or is null, which the other side knows.
        call(Stage::Run, |error| unsafe { ffi::sconce_stream_synchronize(self.pointer, error) })
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim, or is null, and is not used afterwards.
        unsafe { ffi::sconce_stream_leave(self.pointer) };
    }
}

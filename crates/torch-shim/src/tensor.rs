//! Tensors over memory that Rust owns, and the bytes of tensors that torch owns: no copy either way unless one is
//! needed. Also shape, datatype and device without tch's panics.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tch::{Kind, Tensor};

use crate::device::TorchDevice;
use crate::error::{Error, ErrorClass, Stage};
use crate::ffi::{self, call, call_for_pointer};
use crate::value::tensor_from_raw;

/// The datatypes of tch with torch's own numbers (`c10/core/ScalarType.h`), which tch keeps to itself.
const KINDS: [(Kind, i32); 20] = [
    (Kind::Uint8, 0),
    (Kind::Int8, 1),
    (Kind::Int16, 2),
    (Kind::Int, 3),
    (Kind::Int64, 4),
    (Kind::Half, 5),
    (Kind::Float, 6),
    (Kind::Double, 7),
    (Kind::ComplexHalf, 8),
    (Kind::ComplexFloat, 9),
    (Kind::ComplexDouble, 10),
    (Kind::Bool, 11),
    (Kind::QInt8, 12),
    (Kind::QUInt8, 13),
    (Kind::QInt32, 14),
    (Kind::BFloat16, 15),
    (Kind::Float8e5m2, 23),
    (Kind::Float8e4m3fn, 24),
    (Kind::Float8e5m2fnuz, 25),
    (Kind::Float8e4m3fnuz, 26),
];

pub(crate) fn kind_to_code(kind: Kind) -> i32 {
    // Every kind is in the table; an unknown one would be refused by torch as "undefined".
    KINDS.iter().find(|(known, _)| *known == kind).map_or(-1, |(_, code)| *code)
}

pub(crate) fn kind_from_code(code: i32) -> Option<Kind> {
    KINDS.iter().find(|(_, known)| *known == code).map(|(kind, _)| *kind)
}

/// What a tensor's deleter gets back. The box keeps an owner that holds its bytes inline in one place.
struct Holder<T> {
    _owner: T,
}

extern "C" fn release<T>(holder: *mut c_void) {
    // SAFETY: the pointer came from `Box::into_raw` of a `Holder<T>` and torch calls its deleter once.
    let holder = unsafe { Box::from_raw(holder.cast::<Holder<T>>()) };
    // A panic must not unwind into C++. Its payload is leaked: dropping one may panic again.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(holder))) {
        std::mem::forget(payload);
    }
}

/// A CPU tensor over the owner's bytes, without a copy. The owner is dropped once, on the thread that drops the last
/// reference to the memory, and also when this fails.
///
/// The bytes must be as many as shape and kind say, and start at a multiple of the element's size.
///
/// NOTE: a model that works in place writes into these bytes ([`crate::Module::mutates_inputs`]); hand such a model
/// only memory that nobody else reads.
pub fn tensor_from_owner<T>(owner: T, shape: &[i64], kind: Kind) -> Result<Tensor, Error>
where
    T: AsRef<[u8]> + Send + Sync + 'static,
{
    let holder = Box::new(Holder { _owner: owner });
    let bytes = holder._owner.as_ref();
    check_layout(bytes, shape, kind)?;
    let data = bytes.as_ptr().cast_mut().cast();
    let holder = Box::into_raw(holder).cast();
    let pointer = call_for_pointer(Stage::Other, |tensor, error| {
        // SAFETY: `data` stays valid until `release` drops the holder, which the other side calls once in any case;
        // its length was checked above.
        unsafe {
            ffi::sconce_tensor_from_blob(
                data,
                shape.as_ptr(),
                shape.len() as u64,
                kind_to_code(kind),
                holder,
                release::<T>,
                tensor,
                error,
            )
        }
    })?;
    // SAFETY: the call above made the tensor for us.
    Ok(unsafe { tensor_from_raw(pointer) })
}

fn check_layout(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<(), Error> {
    let invalid = |message: String| Err(Error::new(ErrorClass::InvalidArgument, message));
    if matches!(kind, Kind::QInt8 | Kind::QUInt8 | Kind::QInt32) {
        return invalid(format!("a tensor of kind {kind:?} cannot be made from bytes alone"));
    }
    let size = kind.elt_size_in_bytes();
    let expected = shape
        .iter()
        .try_fold(size, |bytes, dimension| bytes.checked_mul(usize::try_from(*dimension).ok()?));
    match expected {
        Some(expected) if expected == bytes.len() => {}
        Some(expected) => {
            return invalid(format!(
                "a tensor of shape {shape:?} and kind {kind:?} takes {expected} bytes, got {}",
                bytes.len()
            ));
        }
        None => return invalid(format!("{shape:?} is not the shape of a tensor")),
    }
    // A complex number is aligned as its halves are.
    let alignment = if matches!(kind, Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble)
    {
        size / 2
    } else {
        size
    };
    if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(alignment) {
        return invalid(format!(
            "a tensor of kind {kind:?} must start at a multiple of {alignment} bytes"
        ));
    }
    Ok(())
}

/// The bytes of a tensor: dense, in the host's memory, in row-major order.
///
/// Nothing is copied if the tensor already lies so and nobody else refers to its memory. What is shared (a model that
/// returns its own state, two answers that are views of one tensor) is copied, since the next call may write there.
#[derive(Debug)]
pub struct TensorBytes {
    tensor: ptr::NonNull<c_void>,
    data: *const u8,
    length: usize,
}

// SAFETY: the tensor's memory is referred to by this handle alone (the C++ side copies what is shared), only read, and
// reference counts are atomic, so the handle may be used and dropped on any thread.
unsafe impl Send for TensorBytes {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for TensorBytes {}

impl TensorBytes {
    /// Takes a tensor's bytes, from the device if it lies on one.
    pub fn new(tensor: Tensor) -> Result<Self, Error> {
        let mut data = ptr::null();
        let mut length = 0;
        let pointer = call_for_pointer(Stage::Other, |result, error| {
            // SAFETY: the tensor lives for the call; the rest are places of our own.
            unsafe {
                let source = tensor.as_ptr().cast();
                ffi::sconce_tensor_to_cpu_bytes(
                    source,
                    result,
                    &raw mut data,
                    &raw mut length,
                    error,
                )
            }
        })?;
        let tensor = ptr::NonNull::new(pointer)
            .ok_or_else(|| Error::new(ErrorClass::Internal, "the shim returned no tensor"))?;
        // A length that does not fit could not have been allocated.
        let length = if data.is_null() { 0 } else { usize::try_from(length).unwrap_or(0) };
        Ok(Self { tensor, data, length })
    }
}

impl AsRef<[u8]> for TensorBytes {
    fn as_ref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the tensor that we hold owns `length` bytes at `data`, and nobody writes them.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl Drop for TensorBytes {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim and is not used afterwards.
        unsafe { ffi::sconce_tensor_free(self.tensor.as_ptr()) };
    }
}

/// A tensor with the same content on a device; the same tensor if it lies there already. With `non_blocking` a copy
/// from page-locked memory may still be under way when this returns: its source must live until the stream has passed.
pub fn to_device(
    tensor: &Tensor,
    device: TorchDevice,
    non_blocking: bool,
) -> Result<Tensor, Error> {
    let pointer = call_for_pointer(Stage::Run, |result, error| {
        // SAFETY: the tensor lives for the call.
        unsafe {
            let source = tensor.as_ptr().cast();
            ffi::sconce_tensor_to_device(
                source,
                device.raw(),
                i32::from(non_blocking),
                result,
                error,
            )
        }
    })?;
    // SAFETY: the call above made the tensor for us.
    Ok(unsafe { tensor_from_raw(pointer) })
}

/// A tensor of the same numbers in another datatype; the same tensor if it has that already.
pub fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor, Error> {
    let pointer = call_for_pointer(Stage::Run, |result, error| {
        // SAFETY: the tensor lives for the call.
        unsafe {
            ffi::sconce_tensor_cast(tensor.as_ptr().cast(), kind_to_code(kind), result, error)
        }
    })?;
    // SAFETY: the call above made the tensor for us.
    Ok(unsafe { tensor_from_raw(pointer) })
}

/// The shape, or an error for an undefined or nested tensor.
pub fn tensor_shape(tensor: &Tensor) -> Result<Vec<i64>, Error> {
    let mut shape = ptr::null();
    let mut dimensions = 0;
    // SAFETY: the tensor lives for the call; the rest are places of our own.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_tensor_shape(tensor.as_ptr().cast(), &raw mut shape, &raw mut dimensions, error)
    })?;
    let dimensions = usize::try_from(dimensions).unwrap_or(0);
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the tensor holds `dimensions` sizes there and is borrowed until they are copied.
    Ok(unsafe { std::slice::from_raw_parts(shape, dimensions) }.to_vec())
}

/// The datatype, or an error for one that tch does not know.
pub fn tensor_kind(tensor: &Tensor) -> Result<Kind, Error> {
    let mut code = 0;
    // SAFETY: the tensor lives for the call.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_tensor_kind(tensor.as_ptr().cast(), &raw mut code, error)
    })?;
    kind_from_code(code).ok_or_else(|| {
        Error::new(ErrorClass::Unsupported, format!("a tensor has torch's datatype number {code}"))
    })
}

/// The device, or an error for one that is neither CPU nor CUDA.
pub fn tensor_device(tensor: &Tensor) -> Result<TorchDevice, Error> {
    let mut index = 0;
    // SAFETY: the tensor lives for the call.
    call(Stage::Other, |error| unsafe {
        ffi::sconce_tensor_device(tensor.as_ptr().cast(), &raw mut index, error)
    })?;
    Ok(usize::try_from(index).map_or(TorchDevice::Cpu, TorchDevice::Cuda))
}

/// Page-locked memory of the host, from which copies to a CUDA device are fast and may be asynchronous. Zeroed.
#[derive(Debug)]
pub struct PinnedBuffer {
    tensor: ptr::NonNull<c_void>,
    data: *mut u8,
    length: usize,
}

// SAFETY: the buffer is the only way to its memory, as a Vec is to its own.
unsafe impl Send for PinnedBuffer {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// Fails where there is no CUDA device, and where the host has no memory to lock.
    pub fn new(length: usize) -> Result<Self, Error> {
        let mut data = ptr::null_mut();
        let pointer = call_for_pointer(Stage::Other, |tensor, error| {
            // SAFETY: all are places of our own.
            unsafe { ffi::sconce_pinned_new(length as u64, tensor, &raw mut data, error) }
        })?;
        let tensor = ptr::NonNull::new(pointer)
            .ok_or_else(|| Error::new(ErrorClass::Internal, "the shim returned no buffer"))?;
        Ok(Self { tensor, data, length })
    }
}

impl AsRef<[u8]> for PinnedBuffer {
    fn as_ref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the tensor that we hold owns `length` bytes at `data`; `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl AsMut<[u8]> for PinnedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        if self.length == 0 {
            return &mut [];
        }
        // SAFETY: as above; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.length) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim and is not used afterwards.
        unsafe { ffi::sconce_tensor_free(self.tensor.as_ptr()) };
    }
}

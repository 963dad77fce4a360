//! Models that AOTInductor compiled: native code, loaded from memory.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use tch::Tensor;

use crate::error::{Error, ErrorClass, Stage};
use crate::ffi::{self, call, call_for_pointer};
use crate::value::{IValue, Output, encode};

/// A compiled model with its weights. Several threads may run it at once; as many runs are under way as it was loaded for,
/// and the others wait.
///
/// It is code for the processor, of which nothing is known: whoever loads one trusts it, and loads it in a process that
/// may die. Dropping it frees its weights and not its code, which stays until the process ends.
#[derive(Debug)]
pub struct Package {
    pointer: NonNull<c_void>,
}

// SAFETY: the container of a package has no ties to a thread.
unsafe impl Send for Package {}
// SAFETY: it hands each run one of its runners under a lock of its own, and what they share is only read.
unsafe impl Sync for Package {}

impl Package {
    /// Loads a library, and the weights that are not in it. The files are not needed any more afterwards.
    ///
    /// One process loads one: the linker knows a library by the number of its descriptor, and would take another one of
    /// the same number for it.
    pub fn load(library: &File, weights: Option<&File>, runs: usize) -> Result<Self, Error> {
        let weights = weights.map_or(-1, AsRawFd::as_raw_fd);
        let pointer = call_for_pointer(Stage::Load, |package, error| {
            // SAFETY: both descriptors are open for the call; package and error are places of our own.
            unsafe {
                ffi::sconce_package_load(library.as_raw_fd(), weights, runs as u64, package, error)
            }
        })?;
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| Error::new(ErrorClass::Internal, "the shim returned no package"))?;
        Ok(Self { pointer })
    }

    /// How its arguments, and its results, are nested, in torch's words for that.
    pub fn call_spec(&self) -> Result<Vec<String>, Error> {
        let mut output = Output::new();
        // SAFETY: the package lives; the answer and the error are places of our own.
        call(Stage::Other, |error| unsafe {
            ffi::sconce_package_call_spec(self.pointer.as_ptr(), output.slot(), error)
        })?;
        output.reader().each(|reader| reader.text())
    }

    /// Runs it. The tensors have to be of the number, kinds and sizes that it was compiled for, contiguous, on the CPU and
    /// at a multiple of 64 bytes: it takes that on trust and computes with whatever lies there.
    pub fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
        let inputs: Vec<IValue> = inputs.into_iter().map(IValue::Tensor).collect();
        let nodes = encode(&inputs)?;
        let mut output = Output::new();
        call(Stage::Run, |error| {
            // SAFETY: the package lives, and what the nodes point to outlives the call.
            unsafe {
                ffi::sconce_package_run(
                    self.pointer.as_ptr(),
                    nodes.as_ptr(),
                    nodes.len() as u64,
                    output.slot(),
                    error,
                )
            }
        })?;
        let tensor = |value| match value {
            IValue::Tensor(tensor) => Ok(tensor),
            _ => Err(Error::new(ErrorClass::Internal, "the package returned what is no tensor")),
        };
        match output.into_value()? {
            IValue::List(values) => values.into_iter().map(tensor).collect(),
            value => Ok(vec![tensor(value)?]),
        }
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim, is owned by us alone, and is not used afterwards.
        unsafe { ffi::sconce_package_free(self.pointer.as_ptr()) };
    }
}

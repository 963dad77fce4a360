//! The parts of libtorch that tch does not bind: modules that do not leak, their schema, freezing and optimizing,
//! tensors over foreign memory, streams and devices.
//!
//! The C++ half lies in `cpp/` behind a C interface (`cpp/shim.h`, `ffi`), the Rust half makes it safe. tch lends its
//! `Tensor` and `Kind`, nothing else. This crate is the only one of the program that has `unsafe` code; what a model
//! means, how requests are batched, and which error a client sees are not its concern.
//!
//! Both halves own what they make: C++ by RAII, Rust by `Drop`. No exception leaves C++, no panic enters it.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

mod device;
mod environment;
mod error;
mod ffi;
mod memory;
mod messages;
mod module;
mod package;
mod process;
mod schema;
mod tensor;
mod value;

pub use device::{
    BuildFacts, MemoryStats, StreamGuard, TorchDevice, build_facts, catch_traps, device_count,
    device_name, fork_in_place, libtorch_version, limit_primitive_cache, load_cuda_library,
    load_library, memory_stats, set_fusion_strategy, set_intra_op_threads, synchronize,
};
pub use error::{Error, ErrorClass};
pub use memory::{Allocator, MemoryBounds, bound_memory, give_back_unasked};
pub use messages::{HandlerGuard, MessageHandler, MessageKind, set_default_handler};
pub use module::{ExtraFiles, Module, ParameterInfo, Slot};
pub use package::Package;
pub use process::{end_process, fork_as_sibling};
pub use schema::{ArgumentType, Method, SchemaArgument, Type};
pub use tensor::{
    PinnedBuffer, TensorBytes, cast, tensor_device, tensor_from_owner, tensor_kind, tensor_shape,
    to_device,
};
pub use value::IValue;

//! The C interface of `cpp/shim.h`, in the same order. Nothing but declarations and the calling convention lives here.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use crate::error::{Error, Stage};

/// What kind of value a [`Node`] holds.
pub(crate) mod tag {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const TENSOR: u32 = 1;
    pub(crate) const INT: u32 = 2;
    pub(crate) const FLOAT: u32 = 3;
    pub(crate) const BOOL: u32 = 4;
    pub(crate) const STRING: u32 = 5;
    pub(crate) const LIST: u32 = 6;
    pub(crate) const TUPLE: u32 = 7;
    pub(crate) const DICT: u32 = 8;
}

/// Takes what was said: its kind, and a text that lives for the call.
pub(crate) type Listener = extern "C" fn(kind: i32, text: *const u8, length: u64);

#[repr(C)]
pub(crate) struct RawError {
    pub(crate) kind: u32,
    pub(crate) text: *mut c_char,
    pub(crate) length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union Payload {
    pub(crate) integer: i64,
    pub(crate) real: f64,
    pub(crate) text: *const u8,
    pub(crate) tensor: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) tag: u32,
    pub(crate) length: u64,
    pub(crate) payload: Payload,
}

#[repr(C)]
pub(crate) struct RawOutput {
    pub(crate) first: Node,
    pub(crate) nodes: *mut Node,
    pub(crate) count: u64,
    pub(crate) owner: *mut c_void,
}

impl RawOutput {
    pub(crate) fn empty() -> Self {
        let first = Node { tag: tag::NONE, length: 0, payload: Payload { integer: 0 } };
        Self { first, nodes: ptr::null_mut(), count: 0, owner: ptr::null_mut() }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Text {
    text: *const u8,
    length: u64,
}

impl Text {
    /// Borrows `text`; the caller keeps it alive for the call.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { text: text.as_ptr(), length: text.len() as u64 }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawDevice {
    pub(crate) index: i32,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct RawMemory {
    pub(crate) allocated: u64,
    pub(crate) reserved: u64,
    pub(crate) free: u64,
    pub(crate) total: u64,
}

unsafe extern "C" {
    pub(crate) fn sconce_error_free(error: *mut RawError);
    pub(crate) fn sconce_output_free(owner: *mut c_void);

    pub(crate) fn sconce_module_load(
        file: c_int,
        device: RawDevice,
        extra: *const Text,
        extra_count: u64,
        module: *mut *mut c_void,
        extra_files: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_free(module: *mut c_void);
    pub(crate) fn sconce_module_run(
        module: *mut c_void,
        method: Text,
        nodes: *const Node,
        node_count: u64,
        argument_count: u64,
        device: RawDevice,
        autocast: i32,
        gradients: i32,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_copy(
        module: *mut c_void,
        copy: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_recast(
        module: *mut c_void,
        kind: i32,
        channels_last: i32,
        copy: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_freeze(
        module: *mut c_void,
        preserved: *const Text,
        preserved_count: u64,
        frozen: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_optimize(
        module: *mut c_void,
        preserved: *const Text,
        preserved_count: u64,
        optimized: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_define(
        functions: Text,
        methods: Text,
        slots: *const Node,
        node_count: u64,
        module: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_save(
        module: *mut c_void,
        path: Text,
        error: *mut RawError,
    ) -> c_int;

    pub(crate) fn sconce_module_methods(
        module: *mut c_void,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_operators(
        module: *mut c_void,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_mutates_state(
        module: *mut c_void,
        answer: *mut i32,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_mutates_inputs(
        module: *mut c_void,
        method: Text,
        answer: *mut i32,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_graph(
        module: *mut c_void,
        method: Text,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_parameters(
        module: *mut c_void,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_module_byte_size(
        module: *mut c_void,
        bytes: *mut u64,
        error: *mut RawError,
    ) -> c_int;

    pub(crate) fn sconce_package_load(
        library: c_int,
        weights: c_int,
        runs: u64,
        package: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_package_free(package: *mut c_void);
    pub(crate) fn sconce_package_call_spec(
        package: *mut c_void,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_package_run(
        package: *mut c_void,
        nodes: *const Node,
        node_count: u64,
        output: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;

    pub(crate) fn sconce_tensor_from_blob(
        data: *mut c_void,
        shape: *const i64,
        dimensions: u64,
        kind: i32,
        owner: *mut c_void,
        release: extern "C" fn(*mut c_void),
        tensor: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_to_cpu_bytes(
        tensor: *const c_void,
        result: *mut *mut c_void,
        data: *mut *const u8,
        length: *mut u64,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_to_device(
        tensor: *const c_void,
        device: RawDevice,
        non_blocking: i32,
        result: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_cast(
        tensor: *const c_void,
        kind: i32,
        result: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_shape(
        tensor: *const c_void,
        shape: *mut *const i64,
        dimensions: *mut u64,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_kind(
        tensor: *const c_void,
        kind: *mut i32,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_device(
        tensor: *const c_void,
        index: *mut i32,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_tensor_free(tensor: *mut c_void);
    pub(crate) fn sconce_pinned_new(
        length: u64,
        tensor: *mut *mut c_void,
        data: *mut *mut u8,
        error: *mut RawError,
    ) -> c_int;

    pub(crate) fn sconce_load_cuda_library(error: *mut RawError) -> c_int;
    pub(crate) fn sconce_device_count() -> u64;
    pub(crate) fn sconce_device_name(
        index: u64,
        name: *mut RawOutput,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_device_memory(
        index: u64,
        memory: *mut RawMemory,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_device_synchronize(index: u64, error: *mut RawError) -> c_int;
    pub(crate) fn sconce_device_is_poisoned() -> i32;
    pub(crate) fn sconce_stream_enter(
        device: RawDevice,
        guard: *mut *mut c_void,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_stream_synchronize(guard: *mut c_void, error: *mut RawError) -> c_int;
    pub(crate) fn sconce_stream_leave(guard: *mut c_void);
    pub(crate) fn sconce_set_intra_op_threads(count: i32, error: *mut RawError) -> c_int;
    pub(crate) fn sconce_fork_in_place();
    pub(crate) fn sconce_set_fusion_strategy(
        fixed: u64,
        dynamic: u64,
        error: *mut RawError,
    ) -> c_int;
    pub(crate) fn sconce_load_library(path: Text, error: *mut RawError) -> c_int;
    pub(crate) fn sconce_set_listener(listener: Listener);
    pub(crate) fn sconce_listen_to_warnings_here();
    pub(crate) fn sconce_catch_traps();
    pub(crate) fn sconce_watch_allocations();
    pub(crate) fn sconce_bound_memory(
        most: u64,
        aside: u64,
        each: u64,
        buffered: extern "C" fn() -> u64,
    );
    pub(crate) fn sconce_build_facts(facts: *mut RawOutput, error: *mut RawError) -> c_int;
}

/// Makes one call and turns a failure into an [`Error`]. `body` gets the place for the error and returns the status.
pub(crate) fn call(stage: Stage, body: impl FnOnce(*mut RawError) -> c_int) -> Result<(), Error> {
    let mut raw = RawError { kind: 0, text: ptr::null_mut(), length: 0 };
    if body(&raw mut raw) == 0 {
        return Ok(());
    }
    let text: &[u8] = if raw.text.is_null() {
        &[]
    } else {
        let length = usize::try_from(raw.length).unwrap_or(0);
        // SAFETY: the other side allocated `length` bytes at `text` and hands them to us until they are freed below.
        unsafe { std::slice::from_raw_parts(raw.text.cast::<u8>(), length) }
    };
    let error = Error::from_raw(stage, raw.kind, text);
    // SAFETY: `raw` was filled by the other side and `text` is not used after this.
    unsafe { sconce_error_free(&raw mut raw) };
    Err(error)
}

/// A call that answers with a pointer that the caller then owns.
pub(crate) fn call_for_pointer(
    stage: Stage,
    body: impl FnOnce(*mut *mut c_void, *mut RawError) -> c_int,
) -> Result<*mut c_void, Error> {
    let mut pointer = ptr::null_mut();
    call(stage, |error| body(&raw mut pointer, error))?;
    Ok(pointer)
}

// The C interface between the two halves of the shim. `src/ffi.rs` declares the same, in the same order.
//
// Rules that hold for every function here:
// - none lets a C++ exception out; those that can fail return 0 on success, else 1 and fill `*error`;
// - pointers that come in are borrowed for the call, unless a comment says that they are taken;
// - what comes out is owned by the caller and has a function here that frees it.
#pragma once

#include <cstdint>

extern "C" {

// Why a call failed, as far as the type of the exception tells. The text is read, classified further and cut on the
// Rust side, where that is easy to test.
enum SconceErrorKind : uint32_t {
  SCONCE_ERROR_OTHER = 0,  // any other std::exception, c10::Error among them
  SCONCE_ERROR_RAISED = 1,  // a `raise` or `assert` of the model's own code
  SCONCE_ERROR_OUT_OF_MEMORY = 2,
  SCONCE_ERROR_INVALID_ARGUMENT = 3,  // found by the shim's own checks, before libtorch saw anything
  SCONCE_ERROR_UNSUPPORTED = 4,  // found by the shim too: a value that cannot cross
  SCONCE_ERROR_ACCELERATOR = 5,  // the device's runtime reported an error
  SCONCE_ERROR_UNKNOWN = 6,  // something that is not a std::exception was thrown
  SCONCE_ERROR_NOT_IMPLEMENTED = 7,  // an operator does not know the device, layout or datatype
};

struct SconceError {
  uint32_t kind;
  char* text;  // freed by sconce_error_free; may be null
  uint64_t length;
};

enum SconceTag : uint32_t {
  SCONCE_NONE = 0,
  SCONCE_TENSOR = 1,
  SCONCE_INT = 2,
  SCONCE_FLOAT = 3,
  SCONCE_BOOL = 4,
  SCONCE_STRING = 5,
  SCONCE_LIST = 6,
  SCONCE_TUPLE = 7,
  SCONCE_DICT = 8,
};

// One node of a value that is written flat, parents before children. `length` is the number of bytes of a string, of
// elements of a list or tuple, of pairs of a dictionary (a pair is two nodes one after the other).
struct SconceNode {
  uint32_t tag;
  uint64_t length;
  union {
    int64_t integer;  // also bool
    double real;
    const char* text;
    void* tensor;  // at::Tensor*
  };
};

// A value that comes out. A tensor, number or None is in `first`, and nothing else is set: the usual case costs no
// allocation here. Anything else lies in `nodes`, owned by `owner` together with the strings. The reader takes a tensor
// out by setting its pointer to null; what it leaves is freed with the owner.
struct SconceOutput {
  SconceNode first;
  SconceNode* nodes;
  uint64_t count;
  void* owner;
};

struct SconceText {
  const char* text;
  uint64_t length;
};

// Takes what a model printed (0) or a warning (1); it must not throw.
typedef void (*SconceListener)(int32_t kind, const char* text, uint64_t length);

struct SconceDevice {
  int32_t index;  // -1: the CPU
};

struct SconceMemory {
  uint64_t allocated;
  uint64_t reserved;
  uint64_t free;
  uint64_t total;
};

void sconce_error_free(SconceError* error);
void sconce_output_free(void* owner);

// Modules. A module pointer is a torch::jit::Module*.
// `file` is an open descriptor, read by position, and stays the caller's.
int sconce_module_load(
    int file, SconceDevice device, const SconceText* extra, uint64_t extra_count, void** module,
    SconceOutput* extra_files, SconceError* error);
void sconce_module_free(void* module);
// `autocast` is the datatype that operators are cast to on `device` while this runs; -1: none.
int sconce_module_run(
    void* module, SconceText method, const SconceNode* nodes, uint64_t node_count, uint64_t argument_count,
    SconceDevice device, int32_t autocast, int32_t gradients, SconceOutput* output, SconceError* error);
int sconce_module_copy(void* module, void** copy, SconceError* error);
// `kind` -1: weights keep their datatypes; `channels_last` lays those of four dimensions out so.
int sconce_module_recast(void* module, int32_t kind, int32_t channels_last, void** copy, SconceError* error);
int sconce_module_freeze(
    void* module, const SconceText* preserved, uint64_t preserved_count, void** frozen, SconceError* error);
int sconce_module_optimize(
    void* module, const SconceText* preserved, uint64_t preserved_count, void** optimized, SconceError* error);
// For tests: `slots` is a list of (name, what, value), what = 0 parameter, 1 buffer, 2 attribute.
int sconce_module_define(
    SconceText functions, SconceText methods, const SconceNode* slots, uint64_t node_count, void** module,
    SconceError* error);
int sconce_module_save(void* module, SconceText path, SconceError* error);

// Looking at modules.
int sconce_module_methods(void* module, SconceOutput* output, SconceError* error);
int sconce_module_operators(void* module, SconceOutput* output, SconceError* error);
int sconce_module_mutates_state(void* module, int32_t* answer, SconceError* error);
int sconce_module_mutates_inputs(void* module, SconceText method, int32_t* answer, SconceError* error);
int sconce_module_graph(void* module, SconceText method, SconceOutput* output, SconceError* error);
int sconce_module_parameters(void* module, SconceOutput* output, SconceError* error);
int sconce_module_byte_size(void* module, uint64_t* bytes, SconceError* error);

// Packages of AOTInductor. `library` and `weights` are open descriptors, which stay the caller's; no weights: -1. So many
// runs may be under way at once; others wait.
int sconce_package_load(int library, int weights, uint64_t runs, void** package, SconceError* error);
void sconce_package_free(void* package);
// How its arguments and its results are nested: two texts.
int sconce_package_call_spec(void* package, SconceOutput* output, SconceError* error);
// `nodes` are tensors, all of the kinds and sizes that the code was compiled for: it asks for nothing.
int sconce_package_run(
    void* package, const SconceNode* nodes, uint64_t node_count, SconceOutput* output, SconceError* error);

// Tensors. A tensor pointer is an at::Tensor*.
int sconce_tensor_from_blob(
    void* data, const int64_t* shape, uint64_t dimensions, int32_t kind, void* owner, void (*release)(void*),
    void** tensor, SconceError* error);
int sconce_tensor_to_cpu_bytes(
    const void* tensor, void** result, const uint8_t** data, uint64_t* length, SconceError* error);
int sconce_tensor_to_device(
    const void* tensor, SconceDevice device, int32_t non_blocking, void** result, SconceError* error);
int sconce_tensor_cast(const void* tensor, int32_t kind, void** result, SconceError* error);
int sconce_tensor_shape(const void* tensor, const int64_t** shape, uint64_t* dimensions, SconceError* error);
int sconce_tensor_kind(const void* tensor, int32_t* kind, SconceError* error);
int sconce_tensor_device(const void* tensor, int32_t* index, SconceError* error);
void sconce_tensor_free(void* tensor);
int sconce_pinned_new(uint64_t length, void** tensor, uint8_t** data, SconceError* error);

// Devices, threads, the process.
int sconce_load_cuda_library(SconceError* error);
uint64_t sconce_device_count(void);
int sconce_device_name(uint64_t index, SconceOutput* name, SconceError* error);
int sconce_device_memory(uint64_t index, SconceMemory* memory, SconceError* error);
int sconce_device_synchronize(uint64_t index, SconceError* error);
int32_t sconce_device_is_poisoned(void);
int sconce_stream_enter(SconceDevice device, void** guard, SconceError* error);
int sconce_stream_synchronize(void* guard, SconceError* error);
void sconce_stream_leave(void* guard);
int sconce_set_intra_op_threads(int32_t count, SconceError* error);
// From now on what a model forks runs at once, on the thread that forks.
void sconce_fork_in_place(void);
int sconce_set_fusion_strategy(uint64_t fixed, uint64_t dynamic, SconceError* error);
int sconce_load_library(SconceText path, SconceError* error);
void sconce_set_listener(SconceListener listener);
void sconce_listen_to_warnings_here(void);
// From now on a division of integers that the processor refuses is an error of the call that it stands in.
void sconce_catch_traps(void);

// Forks a process whose parent is this one's: its id, 0 in it, or minus an error number.
long sconce_fork_as_sibling(void);
// From now on an allocation of libtorch's that fails is tried again when what lies freed has gone back to the system.
void sconce_watch_allocations(void);
// `most`: what the process may take, in bytes. `aside`: what of it is kept for others, all shares among them. `each`: what
// a run may hold whatever else is held. `buffered` tells what others hold of what is kept for them, shares aside.
void sconce_bound_memory(uint64_t most, uint64_t aside, uint64_t each, uint64_t (*buffered)(void));
int sconce_build_facts(SconceOutput* facts, SconceError* error);

}  // extern "C"

// Tensors over foreign memory, and the bytes of tensors.
#include <limits>
#include <memory>
#include <vector>

#include <ATen/ATen.h>

#include "errors.h"
#include "memory.h"
#include "values.h"

namespace sconce {
namespace {

const at::Tensor& tensor_of(const void* tensor) { return *static_cast<const at::Tensor*>(tensor); }

// Calls the releaser once, whatever happens: before the tensor owns the memory when making it fails, else when its last
// reference dies.
struct Owner {
  void* pointer;
  void (*release)(void*);
  ~Owner() {
    if (release != nullptr) {
      release(pointer);
    }
  }
};

void refuse_exotic(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a tensor is undefined");
  }
  if (tensor.is_nested()) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a tensor is nested (ragged), expected a dense one");
  }
}

// A dense tensor in the memory of the host whose elements lie one after the other.
at::Tensor plain(const at::Tensor& tensor) {
  refuse_exotic(tensor);
  if (tensor.is_quantized()) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a tensor is quantized, expected plain numbers");
  }
  at::Tensor result = tensor;
  if (result.layout() == at::kMkldnn) {
    result = result.to_dense();
  }
  if (result.layout() != at::kStrided) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a tensor is sparse, expected a dense one");
  }
  if (!result.is_cpu()) {
    result = result.to(at::kCPU);
  }
  return result.resolve_conj().resolve_neg().contiguous();
}

// Whether someone else can reach the memory: a model that returns its own state, or a view of it, may write there
// during the next call, while these bytes are still being sent. `known` is how many references the caller and this file hold.
bool is_shared(const at::Tensor& tensor, size_t known) {
  return tensor.use_count() > known || tensor.storage().use_count() > 1;
}

}  // namespace
}  // namespace sconce

using namespace sconce;

int sconce_tensor_from_blob(
    void* data, const int64_t* shape, uint64_t dimensions, int32_t kind, void* owner, void (*release)(void*),
    void** tensor, SconceError* error) {
  return guarded(error, [&] {
    // Inside, so that the owner is released also when the allocation of what follows fails.
    auto holder = std::shared_ptr<Owner>(new Owner{owner, release});
    const auto options = at::TensorOptions(static_cast<at::ScalarType>(kind)).device(at::kCPU);
    *tensor = new at::Tensor(
        at::from_blob(data, at::IntArrayRef(shape, dimensions), [holder](void*) {}, options));
  });
}

int sconce_tensor_to_cpu_bytes(
    const void* tensor, void** result, const uint8_t** data, uint64_t* length, SconceError* error) {
  return guarded(error, [&] {
    c10::InferenceMode inference_mode;
    // A tensor may stand for far more elements than it has.
    const Account account(Account::Of::kRun);
    const at::Tensor& source = tensor_of(tensor);
    auto bytes = std::make_unique<at::Tensor>(plain(source));
    // Where nothing had to be copied, the caller's own reference counts beside `bytes`.
    if (is_shared(*bytes, bytes->is_same(source) ? 2 : 1)) {
      *bytes = bytes->clone(at::MemoryFormat::Contiguous);
    }
    *data = static_cast<const uint8_t*>(bytes->const_data_ptr());
    *length = bytes->nbytes();
    *result = bytes.release();
  });
}

int sconce_tensor_to_device(
    const void* tensor, SconceDevice device, int32_t non_blocking, void** result, SconceError* error) {
  return guarded(error, [&] {
    c10::InferenceMode inference_mode;
    const Account account(Account::Of::kRun);
    *result = new at::Tensor(tensor_of(tensor).to(device_of(device), non_blocking != 0));
  });
}

int sconce_tensor_cast(const void* tensor, int32_t kind, void** result, SconceError* error) {
  return guarded(error, [&] {
    c10::InferenceMode inference_mode;
    const Account account(Account::Of::kRun);
    *result = new at::Tensor(tensor_of(tensor).to(static_cast<at::ScalarType>(kind)));
  });
}

int sconce_tensor_shape(const void* tensor, const int64_t** shape, uint64_t* dimensions, SconceError* error) {
  return guarded(error, [&] {
    refuse_exotic(tensor_of(tensor));
    const auto sizes = tensor_of(tensor).sizes();
    *shape = sizes.data();
    *dimensions = sizes.size();
  });
}

int sconce_tensor_kind(const void* tensor, int32_t* kind, SconceError* error) {
  return guarded(error, [&] {
    refuse_exotic(tensor_of(tensor));
    *kind = static_cast<int32_t>(tensor_of(tensor).scalar_type());
  });
}

int sconce_tensor_device(const void* tensor, int32_t* index, SconceError* error) {
  return guarded(error, [&] {
    refuse_exotic(tensor_of(tensor));
    const auto device = tensor_of(tensor).device();
    if (device.is_cpu()) {
      *index = -1;
    } else if (device.is_cuda()) {
      *index = device.index();
    } else {
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a tensor lies on device " + device.str());
    }
  });
}

void sconce_tensor_free(void* tensor) { delete static_cast<at::Tensor*>(tensor); }

int sconce_pinned_new(uint64_t length, void** tensor, uint8_t** data, SconceError* error) {
  return guarded(error, [&] {
    if (sconce_device_count() == 0) {
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, "page-locked memory needs a CUDA device, this process sees none");
    }
    if (length > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "a buffer of that length cannot be made");
    }
    const auto options = at::TensorOptions(at::kByte).pinned_memory(true);
    auto buffer = std::make_unique<at::Tensor>(at::zeros({static_cast<int64_t>(length)}, options));
    *data = static_cast<uint8_t*>(buffer->mutable_data_ptr());
    *tensor = buffer.release();
  });
}

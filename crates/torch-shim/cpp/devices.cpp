// Devices, streams and threads, through what libtorch_cpu.so itself exports: one build serves CPU and GPU.
#include <dlfcn.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/thread_pool.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <torch/version.h>

#include "errors.h"
#include "values.h"

namespace sconce {
namespace {

using c10::IValue;

// Whoever hears what models print and what libtorch warns of.
std::atomic<SconceListener> said_to{nullptr};

class ListeningHandler final : public c10::WarningHandler {
  void process(const c10::Warning& warning) override {
    const std::string& text = warning.msg();
    said_to.load()(1, text.data(), text.size());
  }
};

// In place of libtorch's pool for what models fork. There, tasks of all models wait in one queue without a bound, for
// threads that one task without an end keeps for ever, and what they take is on nobody's account.
class InPlace final : public c10::TaskThreadPoolBase {
 public:
  void run(std::function<void()> task) override {
    // Each one stands on the stack of the one that forked it.
    constexpr int kDeepest = 200;
    thread_local int depth = 0;
    if (depth >= kDeepest) {
      throw ShimError(SCONCE_ERROR_RAISED, "forks are nested more than " + std::to_string(kDeepest) + " deep");
    }
    ++depth;
    struct Leave {
      ~Leave() { --depth_; }
      int& depth_;
    } leave{depth};
    task();
  }
  size_t size() const override { return 1; }
  size_t numAvailable() const override { return 1; }
  bool inThreadPool() const override { return false; }
};

bool has_cuda() noexcept {
  try {
    return at::accelerator::getAccelerator() == at::kCUDA;
  } catch (...) {
    return false;
  }
}

c10::DeviceIndex checked_index(uint64_t index) {
  const uint64_t count = sconce_device_count();
  if (index >= count) {
    throw ShimError(
        SCONCE_ERROR_INVALID_ARGUMENT,
        "there is no device cuda:" + std::to_string(index) + ", this process sees " + std::to_string(count));
  }
  return static_cast<c10::DeviceIndex>(index);
}

// libtorch has no device-neutral name of a device, and CUDA's headers are not at hand. The driver's C interface for
// this has not changed since CUDA 2.
std::string name_from_driver(int index) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the CUDA driver library is not there");
  }
  // Never closed: torch itself uses the driver for as long as the process lives.
  auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  auto name_of = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetName"));
  char name[256] = {};
  int device = 0;
  if (init == nullptr || get == nullptr || name_of == nullptr || init(0) != 0 || get(&device, index) != 0 ||
      name_of(name, static_cast<int>(sizeof(name)) - 1, device) != 0) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the CUDA driver does not tell the name of the device");
  }
  return name;
}

// The calling thread works on one device and one stream of its own while this lives.
struct StreamScope {
  explicit StreamScope(c10::Device device)
      : implementation(device.type()),
        previous_device(implementation.exchangeDevice(device)),
        stream(implementation.getStreamFromGlobalPool(device)),
        previous_stream(implementation.exchangeStream(stream)) {}
  ~StreamScope() {
    try {
      implementation.exchangeStream(previous_stream);
      implementation.uncheckedSetDevice(previous_device);
    } catch (...) {
      // The thread is leaving a device that no longer answers; the next call on it says so.
    }
  }
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

  c10::impl::VirtualGuardImpl implementation;
  c10::Device previous_device;
  c10::Stream stream;
  c10::Stream previous_stream;
};

}  // namespace
}  // namespace sconce

using namespace sconce;

int sconce_load_cuda_library(SconceError* error) {
  return guarded(error, [&] {
    // Global, because the CUDA library's own parts look each other up by name; now, so that a missing part shows here
    // and not in the middle of a request.
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* reason = dlerror();
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, reason == nullptr ? "libtorch_cuda.so does not load" : reason);
    }
  });
}

uint64_t sconce_device_count(void) {
  try {
    return has_cuda() ? static_cast<uint64_t>(at::accelerator::deviceCount()) : 0;
  } catch (...) {
    return 0;
  }
}

int sconce_device_name(uint64_t index, SconceOutput* name, SconceError* error) {
  return guarded(error, [&] { write_output(IValue(name_from_driver(checked_index(index))), name); });
}

int sconce_device_memory(uint64_t index, SconceMemory* memory, SconceError* error) {
  return guarded(error, [&] {
    const auto device = checked_index(index);
    // The allocator answers nothing before CUDA has been started.
    at::globalContext().lazyInitDevice(at::kCUDA);
    const auto stats = at::accelerator::getDeviceStats(device);
    const auto info = at::accelerator::getMemoryInfo(device);
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    memory->allocated = static_cast<uint64_t>(stats.allocated_bytes[kAll].current);
    memory->reserved = static_cast<uint64_t>(stats.reserved_bytes[kAll].current);
    memory->free = info.first;
    memory->total = info.second;
  });
}

int sconce_device_synchronize(uint64_t index, SconceError* error) {
  return guarded(error, [&] { at::accelerator::synchronizeDevice(checked_index(index)); });
}

int32_t sconce_device_is_poisoned(void) {
  const uint64_t count = sconce_device_count();
  for (uint64_t index = 0; index < count; ++index) {
    try {
      at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(index));
    } catch (...) {
      return 1;
    }
  }
  return 0;
}

int sconce_stream_enter(SconceDevice device, void** guard, SconceError* error) {
  return guarded(error, [&] {
    *guard = nullptr;
    const at::Device target = device_of(device);
    if (!target.is_cpu()) {
      at::globalContext().lazyInitDevice(target.type());
      *guard = new StreamScope(target);
    }
  });
}

int sconce_stream_synchronize(void* guard, SconceError* error) {
  return guarded(error, [&] {
    if (guard != nullptr) {
      static_cast<StreamScope*>(guard)->stream.synchronize();
    }
  });
}

void sconce_stream_leave(void* guard) { delete static_cast<StreamScope*>(guard); }

int sconce_set_intra_op_threads(int32_t count, SconceError* error) {
  return guarded(error, [&] { at::set_num_threads(count); });
}

void sconce_fork_in_place(void) {
  // The registry ends the process when it is told the same twice.
  static std::once_flag once;
  std::call_once(once, [] {
    c10::ThreadPoolRegistry()->Register(
        "C10", [](int, int, bool) -> std::shared_ptr<c10::TaskThreadPoolBase> { return std::make_shared<InPlace>(); },
        c10::REGISTRY_PREFERRED);
  });
}

int sconce_set_fusion_strategy(uint64_t fixed, uint64_t dynamic, SconceError* error) {
  return guarded(error, [&] {
    torch::jit::FusionStrategy strategy;
    if (fixed > 0) {
      strategy.emplace_back(torch::jit::FusionBehavior::STATIC, fixed);
    }
    if (dynamic > 0) {
      strategy.emplace_back(torch::jit::FusionBehavior::DYNAMIC, dynamic);
    }
    torch::jit::setFusionStrategy(strategy);
  });
}

int sconce_load_library(SconceText path, SconceError* error) {
  return guarded(error, [&] {
    // Now, so that a missing part shows here; global, as torch's own loading of such libraries is, because they look
    // each other up by name. Never closed: the operators that they register stay in libtorch's tables.
    if (dlopen(string_of(path).c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* reason = dlerror();
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, reason == nullptr ? "the library does not load" : reason);
    }
  });
}

void sconce_set_listener(SconceListener listener) {
  said_to.store(listener);
  torch::jit::setPrintHandler(+[](const std::string& text) { said_to.load()(0, text.data(), text.size()); });
}

void sconce_listen_to_warnings_here(void) {
  static ListeningHandler handler;
  c10::WarningUtils::set_warning_handler(&handler);
}

int sconce_build_facts(SconceOutput* facts, SconceError* error) {
  return guarded(error, [&] {
    std::vector<IValue> parts = {
        IValue(std::string(TORCH_VERSION)), IValue(at::get_cpu_capability()), IValue(at::get_parallel_info())};
    write_output(IValue(c10::ivalue::Tuple::create(std::move(parts))), facts);
  });
}

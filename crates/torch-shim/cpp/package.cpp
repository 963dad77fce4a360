// Loading and running what AOTInductor compiled: a shared library, and weights beside it. Not by libtorch's loader of
// packages, which runs commands that a package names and writes files where its names lead.
#include <dlfcn.h>

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/ivalue.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>

#include "errors.h"
#include "values.h"
#include "watched.h"

namespace sconce {
namespace {

using Runner = torch::inductor::AOTIModelContainerRunnerCpu;

// The path of an open file. The library's own name, by which the linker would know it again, is none that it has twice.
std::string path_of(int file) { return "/proc/self/fd/" + std::to_string(file); }

// A library of a package wants libtorch by this name, and has no path to find it by; ours leads to it.
void load_libtorch() {
  if (dlopen("libtorch.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, reason == nullptr ? "libtorch.so does not load" : reason);
  }
}

Runner& runner_of(void* package) { return *static_cast<Runner*>(package); }

}  // namespace
}  // namespace sconce

using namespace sconce;

int sconce_package_load(int library, int weights, uint64_t runs, void** package, SconceError* error) {
  return guarded(error, [&] {
    load_libtorch();
    auto runner = watched(Account::Of::kLoad, [&] {
      auto made = std::make_unique<Runner>(path_of(library), static_cast<size_t>(runs));
      if (weights >= 0) {
        made->update_constant_buffer_from_blob(path_of(weights));
      }
      return made;
    });
    *package = runner.release();
  });
}

void sconce_package_free(void* package) { delete static_cast<Runner*>(package); }

int sconce_package_call_spec(void* package, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    c10::List<std::string> texts;
    for (auto& text : runner_of(package).get_call_spec()) {
      texts.push_back(std::move(text));
    }
    write_output(c10::IValue(std::move(texts)), output);
  });
}

int sconce_package_run(
    void* package, const SconceNode* nodes, uint64_t node_count, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    c10::InferenceMode inference_mode(true);
    NodeReader reader(nodes, node_count);
    std::vector<at::Tensor> inputs;
    inputs.reserve(node_count);
    while (!reader.done()) {
      c10::IValue value = reader.read(nullptr);
      if (!value.isTensor() || !value.toTensor().defined()) {
        throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "a package takes tensors alone");
      }
      inputs.push_back(value.toTensor());
    }
    c10::List<at::Tensor> outputs;
    for (auto& tensor : watched(Account::Of::kRun, [&] { return runner_of(package).run(inputs); })) {
      outputs.push_back(std::move(tensor));
    }
    write_output(c10::IValue(std::move(outputs)), output);
  });
}

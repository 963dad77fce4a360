// The handle of a module.
#pragma once

#include <torch/csrc/jit/api/module.h>

namespace sconce {

inline torch::jit::Module& module_of(void* module) { return *static_cast<torch::jit::Module*>(module); }

}  // namespace sconce

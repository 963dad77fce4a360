// What libtorch takes on trust and this shim does not.
#pragma once

#include <torch/csrc/jit/api/module.h>

namespace sconce {

// Makes operators look at what they would believe, for the whole process. Before the first model is loaded.
void guard_operators();

// Throws where an attribute, or what a list or dictionary in one holds, is not of the type that the code declares.
void check_attributes(const torch::jit::Module& module);

}  // namespace sconce

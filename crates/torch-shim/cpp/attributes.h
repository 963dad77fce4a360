// What a file holds beside its code.
#pragma once

#include <torch/csrc/jit/api/module.h>

namespace sconce {

// Throws where an attribute, or what a list or dictionary in one holds, is not of the type that the code declares.
void check_attributes(const torch::jit::Module& module);

}  // namespace sconce

// The code of a method as one graph, ready to be analyzed.
#pragma once

#include <memory>
#include <string>

#include <torch/csrc/jit/api/module.h>

namespace sconce {

// A copy of a method's code with its calls inlined and with the branches left out that the module's own flags decide.
std::shared_ptr<torch::jit::Graph> inlined(const torch::jit::Module& module, const std::string& method);

// Whether a function has more code than is analyzed, once its calls are inlined.
bool is_too_long(torch::jit::Function& function);

// Whether a method may write into what the module holds without assigning it. Branches that only training takes do not
// count. Errs on the side of yes.
bool writes_state_in_place(const torch::jit::Module& module, const std::string& method);

}  // namespace sconce
